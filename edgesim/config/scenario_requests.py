"""Models of a scenario file's requests: what is sent, what is expected, sessions of several, and the data they use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from edgesim.config.scenario_fields import (
    FieldName,
    FieldValue,
    Name,
    OwnFieldName,
    Path,
    Statuses,
    Weight,
    error,
    template,
)
from edgesim.config.units import parse_duration
from edgesim.config.validation import FileModel
from edgesim.scenario.spec import Think

_SCALAR_SCHEMA: Final = {"type": ["string", "number", "boolean", "null"]}
METHODS: Final = ("get", "post", "put", "delete")
SOURCES: Final = ("csv", "json", "rows")


def _texts(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise error("this is no text to look for", 'write for example contains: "Hello", or several: [a, b]')
    return texts


def _scalar(value: object) -> object:
    if not (value is None or isinstance(value, str | int | float)):
        raise error("only single values can be expected", "write text, a number, true, false, null or `exists`")
    return value


def _feeder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        raise error(f"'{name[:60]}' cannot be a feeder's name", "use letters, digits, hyphens and underscores: users")
    return name


class BodyFile(FileModel):
    """What a body must hold."""

    contains: Annotated[
        list[Annotated[str, StringConstraints(max_length=1000)]],
        BeforeValidator(_texts),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(default_factory=list)
    json_values: Annotated[
        dict[str, Annotated[Any, AfterValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]], Field(alias="json")
    ] = Field(default_factory=dict)
    """By path, such as `user.name` or `items.0.id`: the exact value, or `exists`."""


class ExpectFile(FileModel):
    """When an answer counts as a success."""

    status: Statuses = Field(default_factory=list)
    header: dict[FieldName, str] = Field(default_factory=dict)
    """`exists`, or the exact value."""
    body: BodyFile = BodyFile()


def _json_template(value: object) -> object:
    """Check the expressions in every text of a JSON body."""
    if isinstance(value, str):
        template(value)
    elif isinstance(value, dict):
        for part in value.values():
            _json_template(part)
    elif isinstance(value, list):
        for part in value:
            _json_template(part)
    return value


class RequestFile(FileModel):
    """One kind of request of the mix, with exactly one of the methods."""

    name: Name
    weight: Weight = 1.0
    """Share of the mix; of no effect when there are sessions."""
    get: Path | None = None
    post: Path | None = None
    put: Path | None = None
    delete: Path | None = None
    headers: dict[OwnFieldName, FieldValue] = Field(default_factory=dict)
    body: Annotated[str, AfterValidator(template)] = ""
    json_body: Annotated[Any, BeforeValidator(_json_template), Field(alias="json")] = None
    expect: ExpectFile = ExpectFile()

    @property
    def line(self) -> tuple[Literal["GET", "POST", "PUT", "DELETE"], str]:
        """Method and target."""
        if self.get is not None:
            return "GET", self.get
        if self.post is not None:
            return "POST", self.post
        if self.put is not None:
            return "PUT", self.put
        assert self.delete is not None
        return "DELETE", self.delete


def _think(value: object) -> Think:
    """A bare duration, or a mapping."""
    if not isinstance(value, dict):
        return Think(kind="constant", low_s=parse_duration(value))
    try:
        times = {name: parse_duration(time) for name, time in value.items()}
    except ValueError:
        times = {}
    if set(times) == {"mean"}:
        return Think(kind="exponential", low_s=times["mean"])
    if set(times) == {"min", "max"} and times["min"] <= times["max"]:
        return Think(kind="uniform", low_s=times["min"], high_s=times["max"])
    raise error("this is not a think time", "write 2s, {min: 1s, max: 5s} or {mean: 3s}")


_TIME: Final[dict[str, Any]] = {"anyOf": [{"type": "string"}, {"type": "number"}]}
_THINK_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        *_TIME["anyOf"],
        *(
            {
                "type": "object",
                "properties": dict.fromkeys(names, _TIME),
                "required": names,
                "additionalProperties": False,
            }
            for names in (["min", "max"], ["mean"])
        ),
    ]
}


class FlowFile(FileModel):
    """A request of a session."""

    request: str
    """Name of one of the requests."""
    think: Annotated[Think, PlainValidator(_think), WithJsonSchema(_THINK_SCHEMA)] = Think(kind="constant", low_s=0.0)
    """What is waited before it, after the answer before."""
    repeat: Annotated[int, Field(ge=1, le=100)] = 1


class SessionFile(FileModel):
    """Requests that a client sends one after the other."""

    name: Name
    weight: Weight = 1.0
    flow: Annotated[list[FlowFile], Field(min_length=1, max_length=100)]


class FeederFile(FileModel):
    """Rows of data for `{{ name.field }}`, with exactly one of `csv`, `json` and `rows`."""

    name: Annotated[str, AfterValidator(_feeder_name)]
    order: Literal["sequential", "random", "circular"] = "circular"
    csv: str = ""
    """File whose first line names the fields; relative to the scenario's file."""
    json_file: Annotated[str, Field(alias="json")] = ""
    """File with an array of objects; relative to the scenario's file."""
    rows: Annotated[list[dict[str, str | int | float | bool]], Field(max_length=10_000)] = Field(default_factory=list)
