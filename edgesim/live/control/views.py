"""What the API shows of the control plane, as JSON-able values. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.config.validation import did_you_mean
from edgesim.errors import NotFoundError
from edgesim.live.control.publisher import RECONCILE_S
from edgesim.model.ids import HostId, PopId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.core.desired import Progress
    from edgesim.live.control.service import ControlPlane
    from edgesim.live.control.store import Deployment, StoredRelease
    from edgesim.model.topology import PopSpec

Json = dict[str, Any]
_DEPLOY_ROLE: Final = "deploy"


def status(control: ControlPlane) -> Json:
    """Generation, broker, apps and PoPs in short."""
    states = [control.observed.pop_state(pop) for pop in control.assignment]
    return {
        "healthy": control.healthy,
        "boot": control.boot,
        "started_s": control.started_s,
        "topology": control.topology.name,
        "epoch": control.generation.epoch,
        "gen": control.generation.gen,
        "broker": {
            "kind": control.broker.kind,
            "host": control.endpoint.host,
            "port": control.endpoint.port,
            "pid": control.broker.pid,
            "connected": control.bus.connected,
            "connects": control.bus.connects,
            "refused_messages": control.bus.refused,
            "dropped_messages": control.bus.dropped,
        },
        "apps": {str(app): max(versions) for app, versions in control.releases.items()} if control.releases else {},
        "pops": {"total": len(states), **{state: states.count(state) for state in sorted(set(states))}},
        "hosts": {str(h): control.observed.host_state(h) for h in dict.fromkeys(control.assignment.values())},
        "reconcile_s": RECONCILE_S,
    }


def apps(control: ControlPlane) -> Json:
    """Every app with its versions, the newest last, and what PoPs shall run."""
    return {"apps": [_app(control, app) for app in sorted(control.releases)]}


def _app(control: ControlPlane, app: Any) -> Json:
    wanted = {versions.get(app, 0) for versions in control.desired.values()} - {0}
    return {
        "app": app,
        "version": max(wanted, default=0),
        "versions": [release(stored) for stored in control.releases[app].values()],
    }


def release(stored: StoredRelease) -> Json:
    """One version of an app."""
    value = stored.release
    return {
        "app": value.app,
        "version": value.version,
        "digest": value.digest,
        "prefetch": value.prefetch,
        "message": stored.message,
        "created_s": stored.created_s,
        "components": [
            {"id": c.id, "digest": c.digest, "size_bytes": c.size_bytes, "abi": c.abi} for c in value.components
        ],
        "routes": [{"pattern": r.pattern, "component": r.component} for r in value.routes],
        "filters": list(value.filters),
    }


def deployment(control: ControlPlane, done: Deployment) -> Json:
    """A deployment with its rollout so far."""
    stored = control.release(done.app, done.version)
    return {
        **release(stored),
        "epoch": done.generation.epoch,
        "gen": done.generation.gen,
        "deployed_s": done.created_s,
        "message": done.message,
        **progress(control.progress(done.app, done.version)),
    }


def progress(value: Progress) -> Json:
    """A rollout, PoP by PoP and in all."""
    states = [p.state for p in value.pops]
    return {
        "done": value.done,
        "ok": value.ok,
        "counts": {state: states.count(state) for state in sorted(set(states))},
        "pops": [
            {"pop": p.pop, "host": p.host, "state": p.state, "why": p.why, "distribute_s": p.distribute_s}
            for p in value.pops
        ],
    }


def pops(control: ControlPlane, figures: Mapping[str, Any]) -> Json:
    """Every PoP with its state and its figures (`observe.Summary.to_json()`, or empty)."""
    by_pop = figures.get("pops") or {}
    rows = [_pop(control, spec, by_pop.get(spec.id)) for spec in control.topology.pops if spec.id in control.assignment]
    return {"pops": rows, "missing": figures.get("missing") or {}}


def pop(control: ControlPlane, pop_id: str, figures: Mapping[str, Any]) -> Json:
    """One PoP. Raises NotFoundError, saying what there is."""
    spec = control.topology.pop(pop_id)
    if spec is None or spec.id not in control.assignment:
        raise unknown_pop(control, pop_id)
    return {
        **_pop(control, spec, (figures.get("pops") or {}).get(spec.id)),
        "profile": spec.profile,
        "slots": spec.slots,
        "queue": spec.queue,
        "queue_timeout_s": spec.queue_timeout_s,
        "memory_bytes": spec.memory_bytes,
        "origin": spec.origin,
    }


def unknown_pop(control: ControlPlane, pop_id: str) -> NotFoundError:
    """The error for a PoP that does not exist."""
    known = sorted(control.assignment)
    hint = did_you_mean(pop_id[:64], known)
    near = f"{hint} " if hint.startswith("did") else ""
    return NotFoundError(f"there is no PoP {pop_id[:64]!r}", help=f"{near}PoPs: {', '.join(known)}")


def _pop(control: ControlPlane, spec: PopSpec, figures: Mapping[str, Any] | None) -> Json:
    observed = control.observed
    report, beat = observed.reports.get(spec.id), observed.beat(spec.id)
    row: Json = dict(figures or {})
    if figures is not None:
        starts = figures.get("cold_starts") or ()
        row["cold"] = sum(s["total"]["count"] for s in starts if s["role"] != _DEPLOY_ROLE)
    row |= {
        "pop": spec.id,
        "city": spec.city,
        "country": spec.country,
        "region": spec.region,
        "lat": spec.at.lat,
        "lon": spec.at.lon,
        "host": control.assignment[spec.id],
        "state": observed.pop_state(spec.id),
        "apps": {str(app): version for app, version in report.apps.items()} if report is not None else {},
        "desired": {str(app): version for app, version in control.desired[spec.id].items()},
        "rollout": report.state if report is not None else "unknown",
        "why": report.why if report is not None else "",
        "gen": report.gen if report is not None else 0,
        "distribute_s": report.distribute_s if report is not None else 0.0,
    }
    if beat is not None:
        row |= {"busy": beat.busy, "warm": beat.warm, "queued": beat.queued, "loaded_bytes": beat.loaded_bytes}
    return row


def hosts(control: ControlPlane) -> Json:
    """Every PoP host with its PoPs and addresses."""
    rows = []
    for host in dict.fromkeys(control.assignment.values()):
        presence = control.observed.presences.get(host)
        rows.append(
            {
                "host": host,
                "state": control.observed.host_state(host),
                "pid": presence.pid if presence is not None else 0,
                "boot": presence.boot if presence is not None else "",
                "since_s": presence.since_s if presence is not None else 0.0,
                "data_url": presence.data_url if presence is not None else "",
                "metrics_url": presence.metrics_url if presence is not None else "",
                "pops": [pop for pop, carrier in control.assignment.items() if carrier == host],
            }
        )
    return {"hosts": rows}


def require_host(control: ControlPlane, host: str) -> HostId:
    """The host, if there is one. Raises NotFoundError, saying what there is."""
    known = dict.fromkeys(control.assignment.values())
    if host not in known:
        raise NotFoundError(f"there is no PoP host {host[:64]!r}", help=f"PoP hosts: {', '.join(known)}")
    return HostId(host)


def require_pop(control: ControlPlane, pop_id: str) -> PopId:
    """The PoP, if there is one. Raises NotFoundError, saying what there is."""
    if pop_id not in control.assignment:
        raise unknown_pop(control, pop_id)
    return PopId(pop_id)


def metrics_targets(control: ControlPlane) -> dict[str, str]:
    """Base URL of `/metrics` by process: those that are up, without the control plane itself."""
    return {
        name: presence.metrics_url
        for name, presence in control.observed.presences.items()
        if presence.up and presence.metrics_url
    }
