"""A world of 300 PoPs and a scenario for it, for the benchmarks of the simulator."""

from __future__ import annotations

from edgesim.cli._documents import read_profile
from edgesim.config.catalogue import load_access, load_metros, load_profiles, load_sites, network_model
from edgesim.config.resources import resource_path
from edgesim.config.topology import load_topology
from edgesim.model.ids import AppName, Digest, PopId
from edgesim.model.topology import PopSpec, Topology
from edgesim.model.worker import Component, Release, Route
from edgesim.policies.routing.proximity import Policy
from edgesim.scenario.spec import Clients, Load, Phase, Population, RequestSpec, Scenario, Target
from edgesim.sim.costs import Measured
from edgesim.sim.scenario import run_scenario

APP = AppName("hello")


class NoApps:
    """The scenario deploys nothing on its way."""

    def release(self, path, version, *, prefetch):
        """Nothing to deploy."""
        raise AssertionError(path)


def world(pops=300):
    """The first sites of the catalogue, one PoP each, with the default world's origins and routing."""
    base = load_topology(resource_path("topology.yaml"))
    hardware = load_profiles()["small"]
    specs = tuple(
        PopSpec(
            id=PopId(f"{site.iata}1"), city=site.city, country=site.country, at=site.at, region=site.region,
            profile="small", slots=hardware.slots, queue=hardware.queue, queue_timeout_s=hardware.queue_timeout_s,
            memory_bytes=hardware.memory_bytes, origin="demo",
        )
        for site in list(load_sites().values())[:pops]
    )  # fmt: skip
    assert len(specs) == pops
    return Topology(
        name=f"world-{pops}", pops=specs, regions={}, origins=base.origins, network=base.network, routing=base.routing
    )


def scenario(requests, rate, seed=1):
    """Poisson arrivals from every metro, by its weight and its country's access mix."""
    access = load_access()
    clients = tuple(
        Clients(metro=metro, access=name, weight=metro.weight * share)
        for metro in load_metros()
        for name, share in access.mix(metro.country).items()
        if share > 0
    )
    return Scenario(
        name="world", target=Target(app=APP),
        load=Load(phases=(Phase(name="steady", duration_s=requests / rate, rate_from=rate, rate_to=rate),), seed=seed,
                  max_in_flight=100_000),
        populations=(Population(name="world", weight=1.0, clients=clients),),
        requests=(RequestSpec(name="home", weight=1.0, method="GET", target="/"),),
    )  # fmt: skip


def simulate(topology, network, load, *, edge=True):
    """One whole run, as `edgesim sim run` does it, with the profile that ships; its results."""
    profile = read_profile(resource_path("pops/profile.json"))
    worker = profile.workers[0]
    component = Component(
        id=worker.id, digest=Digest(worker.digest), size_bytes=worker.size_bytes, abi=worker.abi
    )  # fmt: skip
    release = Release(
        app=APP, version=1, digest=Digest("1" * 64), components=(component,),
        routes=(Route(pattern="/...", component=worker.id),),
    )  # fmt: skip
    return run_scenario(
        load, topology, network=network, policy=Policy(), release=release, apps=NoApps(), access=load_access().names(),
        measured={component.digest: Measured(worker)}, edge=profile.edge if edge else None,
    )  # fmt: skip


__all__ = ["network_model", "scenario", "simulate", "world"]
