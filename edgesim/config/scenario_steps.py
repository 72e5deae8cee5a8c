"""Models of a scenario file's timeline, made from the steps in `edgesim/scenario/steps`: a new file there is a new word here."""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, get_type_hints

from pydantic import Field, create_model

from edgesim.config.scenario_fields import Reserved
from edgesim.config.units import Seconds, Share
from edgesim.config.validation import FileModel
from edgesim.scenario import steps
from edgesim.scenario.steps import Step


class StepFile(FileModel):
    """Base of the steps' models, which are made from the dataclasses in `edgesim/scenario/steps`."""

    kind: ClassVar[type]

    def step(self) -> Step:
        """The step as a value. Raises ValueError when its fields do not fit together."""
        value = self.kind(**{f.name: getattr(self, f.name) for f in fields(self.kind)})
        assert isinstance(value, Step)
        return value


_STEP_RESERVED: Final = ("strategy", "steps", "pause")
_STEP_TYPES: Final[dict[Any, Any]] = {steps.Duration: Seconds, steps.Share: Share}


def _step_models() -> dict[str, type[StepFile]]:
    """A model for each file in `edgesim/scenario/steps`, by its name."""
    models: dict[str, type[StepFile]] = {}
    for name in sorted(info.name for info in iter_modules(steps.__path__)):
        kind = import_module(f"{steps.__name__}.{name}").Step
        hints = get_type_hints(kind, include_extras=True)
        members: dict[str, Any] = {
            f.name: (
                Annotated[_STEP_TYPES.get(hints[f.name], hints[f.name]), Field(alias=f.name.rstrip("_"))],
                ... if f.default is MISSING else f.default,
            )
            for f in fields(kind)
        }
        if name == "deploy":
            members |= dict.fromkeys(_STEP_RESERVED, (Reserved, None))
        model = create_model(f"{name.title()}Step", __base__=StepFile, __doc__=kind.__doc__, **members)
        model.kind = kind
        models[name] = model
    return models


STEPS: Final = _step_models()


class EntryBase(FileModel):
    """A timeline entry without its actions, one of which must be given."""

    at: Seconds

    @property
    def name(self) -> str:
        """Name of the step."""
        return next(name for name in STEPS if getattr(self, name) is not None)

    @property
    def step_file(self) -> StepFile:
        """The step."""
        found = getattr(self, self.name)
        assert isinstance(found, StepFile)
        return found


_PLANNED_STEPS: Final = ("purge", "scale")
_entry_members: dict[str, Any] = {name: (model | None, None) for name, model in STEPS.items()}
_entry_members |= {name: (Reserved, None) for name in _PLANNED_STEPS if name not in STEPS}
if TYPE_CHECKING:
    EntryFile = EntryBase
else:
    EntryFile = create_model(
        "EntryFile", __base__=EntryBase, __doc__="What is done to the edge at a time of the run.", **_entry_members
    )
