"""A PoP's state: routing to workers, what a kill takes, what is loaded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core import pop as pop_module
from edgesim.core.desired import DesiredDocument
from edgesim.core.pop import Pop, Serving, Stage
from edgesim.model.ids import Digest
from edgesim.model.worker import Component, Route
from tests.support.request_path import FRA, release, serve, spec

SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4)


@given(
    patterns=st.lists(st.tuples(SEGMENTS, st.booleans()), min_size=1, max_size=6, unique_by=str),
    paths=st.lists(SEGMENTS, max_size=12),
)
def test_serving_routes_as_its_release(patterns, paths):
    """Remembered answers are those of `Release.route`, for any patterns and paths, also asked twice."""
    components = tuple(
        Component(id=f"c{n}", digest=Digest(f"{n:064x}"), size_bytes=1, abi="wagi") for n in range(len(patterns))
    )
    routes = tuple(
        Route(pattern="/" + "/".join([*parts, "..."] if wild else parts), component=f"c{n}")
        for n, (parts, wild) in enumerate(patterns)
    )
    it = release(components=components, routes=routes)
    serving = Serving(it, set())
    for parts in paths * 2:
        path = "/" + "/".join(parts)
        worker, component = serving.worker(path), it.route(path)

        assert (worker and worker.component) == component


def test_remembered_paths_are_bounded(monkeypatch):
    """Paths come from clients: they must not fill the memory."""
    monkeypatch.setattr(pop_module, "PATHS_MAX", 8)
    serving = Serving(release(), set())
    for n in range(100):
        serving.worker(f"/{n}")

    assert len(serving._by_path) <= 8


def test_what_is_on_disk_is_not_absent():
    """A component that the PoP has fetched before starts from disk."""
    first = release()

    assert next(iter(Serving(first, set()).workers.values())).stage is Stage.ABSENT
    assert next(iter(Serving(first, {first.components[0].digest}).workers.values())).stage is Stage.DISK


def test_a_kill_takes_memory_and_leaves_the_disk():
    """Apps, document, slots and accounts are gone; a new life begins with what is on disk."""
    pop = Pop(spec())
    serve(pop)
    pop.document = DesiredDocument(pop=FRA, epoch=1, gen=1, issued_s=0.0, apps=())
    pop.disk.add(Digest("0" * 64))
    pop.pool.acquire()
    pop.memory_bytes = 5
    pop.draining = True

    assert pop.ready
    pop.kill()
    assert (pop.alive, pop.ready, pop.apps, pop.memory_bytes, pop.pool.busy) == (False, False, {}, 0, 0)
    pop.restart()
    assert (pop.alive, pop.ready, pop.draining, pop.incarnation) == (True, False, False, 1)
    assert pop.disk == {Digest("0" * 64)}
