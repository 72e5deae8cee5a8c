"""Fault injection as it travels: what the API takes, and what the control plane passes on to hosts and front doors."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from edgesim.config.messages import explain
from edgesim.config.releases import Message, NameField
from edgesim.core.faults import LinkFault, OriginFault
from edgesim.errors import InputError
from edgesim.model.ids import PopId

FAULT_S_MAX: Final = 86_400.0
FAULT_BYTES_MAX: Final = 128 * 1024
Lasting = Annotated[float, Field(gt=0, le=FAULT_S_MAX, allow_inf_nan=False)]
Extra = Annotated[float, Field(ge=0, le=60.0, allow_inf_nan=False)]


class _Link(Message):
    """What the fault of a link does."""

    peer: Literal["clients", "origin", "control-plane"]
    for_s: Lasting
    add_s: Extra = 0.0
    jitter_s: Extra = 0.0
    loss: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    cut: bool = False


class LinkRequest(_Link):
    """A link fault by place; with neither a PoP nor a region, every PoP."""

    pop: NameField | Literal[""] = ""
    region: NameField | Literal[""] = ""


class LinkOrder(_Link):
    """A link fault by PoP."""

    pops: Annotated[tuple[NameField, ...], Field(max_length=8192, strict=False)]

    def value(self, now_s: float) -> LinkFault:
        """As the flows see it, from now on."""
        return LinkFault(
            pops=frozenset(map(PopId, self.pops)),
            peer=self.peer,
            until_s=now_s + self.for_s,
            add_s=self.add_s,
            jitter_s=self.jitter_s,
            loss=self.loss,
            cut=self.cut,
        )


class OriginOrder(Message):
    """An origin's fault; an empty name is every origin."""

    origin: NameField | Literal[""] = ""
    for_s: Lasting
    refuse: bool = False
    status: Annotated[int, Field(ge=0, le=599)] = 0
    delay_s: Annotated[float, Field(ge=0, le=3600.0, allow_inf_nan=False)] = 0.0

    def value(self, now_s: float) -> OriginFault:
        """As the flows see it, from now on."""
        return OriginFault(
            origin=self.origin,
            until_s=now_s + self.for_s,
            refuse=self.refuse,
            status=self.status,
            delay_s=self.delay_s,
        )


class FaultRequest(Message):
    """Body of `POST /v1/faults`: one of the two."""

    link: LinkRequest | None = None
    origin: OriginOrder | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.link is None) == (self.origin is None):
            raise ValueError("exactly one of link and origin is needed")
        return self


class FaultOrder(Message):
    """Body of `POST /-/faults`, to each PoP host and front door; with neither, every fault ends."""

    link: LinkOrder | None = None
    origin: OriginOrder | None = None


M = TypeVar("M", FaultRequest, FaultOrder)


def decode_fault(kind: type[M], raw: bytes) -> M:
    """A request or an order. Raises InputError, naming the field."""
    if len(raw) > FAULT_BYTES_MAX:
        raise InputError(f"a fault of {len(raw)} bytes; the limit is {FAULT_BYTES_MAX}")
    try:
        return kind.model_validate_json(raw)
    except ValidationError as exc:
        raise InputError(f"fault: {explain(exc)}") from exc
