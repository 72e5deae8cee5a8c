"""A PoP brings itself to a desired document: switch when ready, keep what is good, let go of what is replaced."""

from __future__ import annotations

from edgesim.core.desired import AlreadyThere, DesiredDocument, Stale
from edgesim.core.pop import Pop, Stage
from edgesim.core.rollout import apply_desired
from edgesim.core.serve import serve_at_pop
from edgesim.errors import StartError
from edgesim.model.events import ColdStarted, PopReported
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Route
from tests.support.request_path import APP, FRA, Guests, release, request, sim_world, spawn, spec

OTHER = AppName("other")


class Bench:
    """One PoP whose starts take a second, or fail for the versions in `bad`."""

    def __init__(self, **changes) -> None:
        self.pop = Pop(spec(**changes))
        self.guests = Guests()
        self.w = sim_world([self.pop], self.guests)
        self.w.load_worker = self.load
        self.bad: set[int] = set()
        self.held = 0

    async def load(self, pop, worker):
        """After a second."""
        await self.w.sleep(1.0)
        if worker.release.version in self.bad:
            raise StartError("does not compile")
        worker.loaded_bytes = 100
        self.held += 1
        return (("compile", 1.0),)

    def desire(self, at_s, gen, *releases):
        """A document that arrives at a time."""
        document = DesiredDocument(pop=FRA, epoch=1, gen=gen, issued_s=0.0, apps=releases)
        return spawn(self.w, apply_desired(self.w, self.pop, document, 0.25), at_s)

    def serving(self, app=APP):
        """The version that is served now, 0 for none."""
        return self.pop.apps[app].release.version if app in self.pop.apps else 0

    def reports(self):
        """(generation, state, versions) of every report."""
        return [(e.gen, e.state, dict(e.apps)) for e in self.w.events if isinstance(e, PopReported)]

    def run(self, until_s=float("inf")):
        """Everything that is due. In between, memory is what the loaded workers take."""
        self.w.kernel.run(until_s)

        assert self.pop.memory_bytes == sum(w.loaded_bytes for w in self.pop.loaded())
        if until_s == float("inf"):
            assert self.pop.retired == []
            assert self.held - self.guests.unloads == len(self.pop.loaded())


def test_a_first_deploy_serves_at_once_and_is_ready_when_loaded():
    """Nothing good to go on with: requests may come and wait for the start, which is counted as the deploy's."""
    bench = Bench()
    bench.desire(0.0, 1, release())
    waiting = spawn(bench.w, serve_at_pop(bench.w, bench.pop, request(now_s=0.5)), 0.5)
    bench.run()
    colds = [e for e in bench.w.events if isinstance(e, ColdStarted)]

    assert bench.reports() == [(1, "downloading", {}), (1, "ready", {APP: 1})]
    assert (waiting.result.role, waiting.at_s) == ("waiter", 1.0)
    assert [(c.cause, c.role, c.phases, c.total_s) for c in colds if c.cause == "deploy"] == [
        ("deploy", "trigger", (("distribute", 0.25), ("fetch", 0.0), ("compile", 1.0)), 1.25)
    ]


def test_an_upgrade_switches_when_it_is_ready():
    """The old version serves until the new one is loaded; then its memory is given back."""
    bench = Bench()
    bench.desire(0.0, 1, release(1))
    bench.desire(2.0, 2, release(2))
    bench.run(2.5)
    during = bench.serving()
    bench.run()

    assert (during, bench.serving()) == (1, 2)
    assert bench.reports()[-2:] == [(2, "downloading", {APP: 1}), (2, "ready", {APP: 2})]
    assert (bench.guests.unloads, bench.pop.memory_bytes) == (1, 100)


def test_without_prefetch_it_is_ready_at_once_and_loads_nothing():
    """The first request pays."""
    bench = Bench()
    bench.desire(0.0, 1, release(prefetch=False))
    bench.run()

    assert bench.reports() == [(1, "ready", {APP: 1})]
    assert (bench.held, next(iter(bench.pop.apps[APP].workers.values())).stage) == (0, Stage.ABSENT)


def test_a_failed_upgrade_keeps_the_old_release():
    """It goes on serving, the report says why, and the same version is tried again with the next document."""
    bench = Bench()
    bench.bad = {2}
    bench.desire(0.0, 1, release(1))
    bench.desire(2.0, 2, release(2))
    bench.run(4.0)
    report = bench.pop.reported

    assert (bench.serving(), report.state, report.why) == (1, "failed", "hello@2: does not compile")
    assert bench.pop.memory_bytes == 100
    bench.bad = set()
    bench.desire(5.0, 3, release(2), release(1, OTHER))
    bench.run()
    assert bench.reports()[-1] == (3, "ready", {APP: 2, OTHER: 1})


def test_a_failed_first_deploy_serves_nothing():
    """The app is not there, rather than failing each request."""
    bench = Bench()
    bench.bad = {1}
    bench.desire(0.0, 1, release(1))
    bench.run()

    assert (bench.serving(), bench.pop.reported.state) == (0, "failed")


def test_one_app_that_fails_does_not_hold_the_others():
    """The rest of the document is carried out."""
    bench = Bench()
    bench.bad = {2}
    bench.desire(0.0, 1, release(2), release(1, OTHER))
    bench.run()

    assert bench.reports()[-1] == (1, "failed", {OTHER: 1})


def test_an_app_that_is_gone_is_stopped():
    """Its memory is free when its last request is through."""
    bench = Bench()
    bench.desire(0.0, 1, release(1), release(1, OTHER))

    async def slow(pop, worker, request):
        await bench.w.sleep(2.0)
        return await bench.guests.hello(pop, worker, request)

    bench.guests.answer = slow
    last = spawn(bench.w, serve_at_pop(bench.w, bench.pop, request(now_s=3.0)), 3.0)
    bench.desire(4.0, 2, release(1, OTHER))
    bench.run(4.5)
    held = bench.pop.memory_bytes
    bench.run()

    assert (last.result.outcome, bench.serving(), bench.serving(OTHER)) == ("ok", 0, 1)
    assert (held, bench.pop.memory_bytes) == (200, 100)


def test_a_newer_document_replaces_one_under_way():
    """Only the newest is reported as ready; what the older one has started is let go."""
    bench = Bench()
    bench.desire(0.0, 1, release(1))
    bench.desire(2.0, 2, release(2))
    bench.desire(2.5, 3, release(3))
    bench.run()

    assert bench.serving() == 3
    assert [r for r in bench.reports() if r[1] == "ready"] == [(1, "ready", {APP: 1}), (3, "ready", {APP: 3})]


def test_a_newer_document_with_another_app_finishes_the_first():
    """Two apps deployed in quick succession: the upgrade that was under way is not lost."""
    bench = Bench()
    bench.desire(0.0, 1, release(1))
    bench.desire(2.0, 2, release(2))
    bench.desire(2.5, 3, release(2), release(1, OTHER))
    bench.run()

    assert bench.reports()[-1] == (3, "ready", {APP: 2, OTHER: 1})


def test_a_newer_document_waits_for_a_first_deploy_under_way():
    """It is not ready before what the older one had put in force is loaded, and tells when that fails."""
    for bad, state, apps in (({}, "ready", {APP: 1, OTHER: 2}), ({1}, "failed", {OTHER: 2})):
        bench = Bench()
        bench.bad = set(bad)
        bench.desire(0.0, 1, release(1))
        bench.desire(0.5, 2, release(1), release(2, OTHER))
        bench.run()

        assert bench.reports()[-1] == (2, state, apps)
        assert [r[0] for r in bench.reports() if r[1] != "downloading"] == [2]


def test_stale_and_repeated_documents():
    """An older one is refused; the same one again repeats the last report, also while its start is under way."""
    bench = Bench()
    bench.desire(0.0, 1, release(1))
    again = bench.desire(0.5, 1, release(1))
    bench.desire(2.0, 2, release(2))
    bench.desire(4.0, 2, release(2))
    stale = bench.desire(5.0, 1, release(1))
    bench.run()

    assert isinstance(again.result, AlreadyThere)
    assert isinstance(stale.result, Stale)
    assert [r[:2] for r in bench.reports()] == [
        *[(1, "downloading")] * 2, (1, "ready"), (2, "downloading"), *[(2, "ready")] * 2,
    ]  # fmt: skip


def test_the_same_document_after_a_failure_is_another_try():
    """What failed may be mended by then; until it has succeeded, nothing says `ready`."""
    bench = Bench()
    bench.bad = {2}
    bench.desire(0.0, 1, release(1))
    for at_s in (2.0, 4.0, 6.0):
        bench.desire(at_s, 2, release(2))
    bench.w.kernel.at(5.5, bench.bad.clear)
    bench.run()

    assert [r[1] for r in bench.reports() if r[0] == 2] == ["downloading", "failed"] * 2 + ["downloading", "ready"]
    assert bench.serving() == 2


def test_a_kill_in_the_middle_of_a_rollout_leaves_no_accounts():
    """The first of two components is loaded, the second is being loaded, the PoP dies and lives again."""
    components = tuple(Component(id=f"c{n}", digest=Digest(f"{n:064x}"), size_bytes=1, abi="wagi") for n in (0, 1))
    routes = tuple(Route(pattern=f"/{n}", component=f"c{n}") for n in (0, 1))
    for first in (release(1), release(1, OTHER)):  # as an upgrade, and as a first deploy
        bench = Bench()
        bench.desire(0.0, 1, first)
        bench.desire(2.0, 2, first, release(3, components=components, routes=routes))

        def kill(bench=bench):
            bench.w.kill(FRA)
            bench.pop.restart()

        bench.w.kernel.at(3.5, kill)
        bench.run()

        assert (bench.pop.memory_bytes, bench.pop.loaded(), bench.pop.document) == (0, [], None)
        assert bench.held == bench.guests.unloads
        bench.desire(10.0, 2, release(1))
        bench.run()
        assert (bench.serving(), bench.pop.memory_bytes) == (1, 100)
