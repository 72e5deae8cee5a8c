"""Whether a run is to be ended early: thresholds with `abortOnFail`, looked at while it goes on. Both worlds ask once a second or so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.results.collect import Results
    from edgesim.scenario.thresholds import Threshold


def failed_early(results: Results, at_s: float, *, counts: bool = True) -> Threshold | None:
    """The first threshold that ends the run now; None when it goes on.

    A figure that is still missing ends nothing: it may come.

    Args:
        results: what has been measured so far.
        at_s: time since the start of the first phase.
        counts: whether thresholds on counts and rates of requests are looked at: these results may be a part of a run's.
    """
    results.elapsed_s = max(results.elapsed_s, at_s)  # rates are over the time so far
    for threshold in results.scenario.thresholds:
        if threshold.abort and at_s >= threshold.after_s and (counts or threshold.unit in {"s", "share"}):
            measured = results.measure(threshold)
            if measured is not None and not threshold.holds(measured):
                return threshold
    return None
