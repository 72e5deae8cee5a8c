"""Models of a scenario file's load and populations: how many requests, when, and from where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgesim.config.scenario_fields import Access, Cidr, Country, Lasting, MetroName, Name, Rate, TimeOfDay, Weight
from edgesim.config.units import Seconds, Share
from edgesim.config.validation import FileModel


class DiurnalFile(FileModel):
    """The rate follows the local time of where clients are; `arrivalRate` is the average of the day."""

    day: Annotated[Seconds, Field(ge=10, le=86_400)] = 86_400.0
    """How long a day takes."""
    start_at: Annotated[TimeOfDay, Field(alias="startAt")] = 0.0
    """Time of day in UTC at which the run begins."""
    peak_at: Annotated[TimeOfDay, Field(alias="peakAt")] = 20 * 3600.0
    """Local time of the most requests."""
    trough: Share = 0.3
    """The least, as a share of the most."""


class FlashCrowdFile(FileModel):
    """Extra requests for a while: they rise, hold and decay."""

    add: Annotated[Rate, Field(gt=0)]
    """Extra requests per second at the height."""
    at: Seconds = 0.0
    """When it begins, from the start of the phase."""
    rise: Seconds = 0.0
    hold: Seconds = 0.0
    decay: Seconds = 0.0
    population: str = ""
    """Who is in it; everybody when it is not given."""
    request: str = ""
    """What it is after; the usual mix when it is not given."""


class PhaseFile(FileModel):
    """A stretch of time with a constant rate, or one that changes linearly to `rampTo`."""

    name: Name
    duration: Lasting
    arrival_rate: Annotated[Rate, Field(alias="arrivalRate")]
    ramp_to: Annotated[Rate | None, Field(alias="rampTo")] = None
    record: bool = True
    flash_crowd: Annotated[FlashCrowdFile | None, Field(alias="flashCrowd")] = None


class LoadFile(FileModel):
    """How many requests (or sessions) are begun, and when."""

    model: Literal["open"] = "open"
    arrivals: Literal["poisson", "constant"] = "poisson"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    max_in_flight: Annotated[int, Field(alias="maxInFlight", ge=1, le=20_000)] = 2000
    diurnal: DiurnalFile | None = None
    phases: Annotated[list[PhaseFile], Field(min_length=1, max_length=100)]


class PopulationFile(FileModel):
    """A group of clients by city, country or address; without any of them they are everywhere."""

    name: Name
    weight: Weight = 1.0
    metros: Annotated[list[MetroName], Field(max_length=1023)] = Field(default_factory=list)
    country: Annotated[list[Country], Field(max_length=250)] = Field(default_factory=list)
    access: Access = ""
    cidr: Annotated[list[Cidr], Field(max_length=100)] = Field(default_factory=list)
    """Networks of simulated clients, such as 240.0.64.0/18."""
