"""`rollback`: have every PoP run an earlier version again."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import Rollback


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Roll an app back, as `edgesim rollback APP` does."""

    app: str = ""
    """Name of a deployed app; the scenario's target when it is not given."""
    version: int = 0
    """Which version; the one before the one in force when it is not given."""

    def __post_init__(self) -> None:
        if self.version < 0:
            raise ValueError("versions are numbers from 1 on; leave `version` out for the one before")

    def action(self) -> Rollback:
        """Publish it."""
        return Rollback(app=self.app, version=self.version)

    def __str__(self) -> str:
        return f"{self.app or 'the app'} to {f'version {self.version}' if self.version else 'the version before'}"
