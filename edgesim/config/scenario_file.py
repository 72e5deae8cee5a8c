"""The shape of scenario files, version 1, as pydantic models: what may be written, with its limits.

Load words are Artillery's, thresholds are k6's. A model says what each key may hold. Rules between keys are not here, since
pydantic would check them only once every key is right: they are with the references in `edgesim/config/scenario_check.py`;
turning a checked file into values is `edgesim/config/scenario.py`. Parts of the file have modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, StringConstraints

from edgesim.config.scenario_fields import DURATION_MAX_S, Host, Name, Reserved, Url, error
from edgesim.config.scenario_load import LoadFile, PopulationFile
from edgesim.config.scenario_requests import FeederFile, RequestFile, SessionFile
from edgesim.config.scenario_steps import EntryFile
from edgesim.config.units import Seconds
from edgesim.config.validation import FileModel
from edgesim.scenario import thresholds

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class TargetFile(FileModel):
    """What the requests are sent to: a deployed app, or a URL of this machine."""

    app: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")] = ""
    url: Url = ""
    host: Host = ""
    path: Reserved = None


def _check(text: str) -> str:
    try:
        thresholds.parse(text)
    except ValueError as exc:
        message, _, hint = str(exc).partition("; ")
        raise error(message, hint) from exc
    return text


def _as_check(value: object) -> object:
    return {"check": value} if isinstance(value, str) else value


class ThresholdFile(FileModel):
    """A condition on a metric, as text or with its kind."""

    check: Annotated[str, AfterValidator(_check)]
    kind: Literal["requirement", "validity"] = "requirement"
    abort_on_fail: Annotated[bool, Field(alias="abortOnFail")] = False
    """Whether a miss ends the run at once."""
    after: Annotated[Seconds, Field(le=DURATION_MAX_S)] = 0.0
    """How long to wait before a miss ends the run, from the start of the first phase."""


class _OrText:
    """Tells editors that text is fine too."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


_ThresholdEntry = Annotated[ThresholdFile, BeforeValidator(_as_check), _OrText()]


class ScenarioFile(FileModel):
    """A load test: who sends what, how fast, what happens meanwhile, and what must hold."""

    version: Literal[1]
    name: Name
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    target: TargetFile
    load: LoadFile
    populations: Annotated[list[PopulationFile], Field(max_length=100)] = Field(default_factory=list)
    requests: Annotated[list[RequestFile], Field(max_length=100)] = Field(default_factory=list)
    sessions: Annotated[list[SessionFile], Field(max_length=100)] = Field(default_factory=list)
    feeders: Annotated[list[FeederFile], Field(max_length=20)] = Field(default_factory=list)
    timeline: Annotated[list[EntryFile], Field(max_length=1000)] = Field(default_factory=list)
    thresholds: Annotated[list[_ThresholdEntry], Field(max_length=200)] = Field(default_factory=list)
    fleet: Reserved = None
    output: Reserved = None
