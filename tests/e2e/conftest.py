"""Edges that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.edge import WORKERS, Edge, running_edge


@pytest.fixture(scope="session")
def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The default world with `hello` on it. Tests may add apps of their own names and must leave the rest alone."""
    with running_edge(tmp_path_factory.mktemp("shared"), topology=None, processes=3, time_scale=0) as edge:
        edge.cli("deploy", WORKERS / "hello")
        yield edge
