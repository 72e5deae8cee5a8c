"""What `inspect` and `run` are about: the components of a manifest, or a bare file, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.config.manifest import MANIFEST, AppSource, ComponentSource, load_app
from edgesim.config.validation import did_you_mean
from edgesim.config.worker_limits import LimitsTable, find_profile
from edgesim.errors import UsageError
from edgesim.model.worker import Route

if TYPE_CHECKING:
    from pathlib import Path


def app_source(path: Path, *, limits_profile: str | None = None) -> AppSource:
    """The app in `path`. A bare file needs no name that could be a host's.

    Raises:
        UsageError: there is nothing there, or no such profile.
        ManifestError: the manifest is wrong.
    """
    if limits_profile is not None:
        find_profile(limits_profile)
    if path.is_dir() or path.suffix == ".toml":
        return load_app(path, limits_profile=limits_profile)
    if not path.exists():
        raise UsageError(f"there is no {path}", where=str(path), help=f"name a .wasm file, a {MANIFEST} or its folder")
    source = ComponentSource(id="worker", file=path, limits=LimitsTable().limits(limits_profile))
    return AppSource(name=path.stem, components=(source,), routes=(Route(pattern="/...", component="worker"),))


def chosen_components(app: AppSource, component: str | None) -> list[ComponentSource]:
    """The components of an app, or the one that is named. Raises UsageError when there is no such."""
    if component is None:
        return list(app.components)
    chosen = [source for source in app.components if source.id == component]
    if not chosen:
        ids = [source.id for source in app.components]
        raise UsageError(
            f"there is no component '{component[:64]}' in {app.name}",
            help=did_you_mean(component, ids, what="components"),
        )
    return chosen
