"""The path of a request through the front door: choose a PoP, wait for the network, forward, fail over, reply.

What it does not do: parse HTTP or find the client's place (the world's drivers do, `edgesim/live/front_door.py`), or serve
(`core/serve.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from edgesim.core.replay import ReplayBody
from edgesim.core.request import CLIENT_GONE, Response
from edgesim.core.router import RetryBudget, Router
from edgesim.errors import DeadlineExceededError, GuestError, OriginError, PopUnreachableError, RequestError
from edgesim.model.events import RequestRouted
from edgesim.model.ids import NO_POP

if TYPE_CHECKING:
    from edgesim.core.health import HealthTable
    from edgesim.core.request import Request
    from edgesim.core.world import World
    from edgesim.model.geo import Place
    from edgesim.model.ids import Outcome, PopId
    from edgesim.model.topology import RetrySpec

Reason = Literal["first", "skipped", "failover", "none"]


class Network(Protocol):
    """The model of the way between clients and PoPs (`model/rtt.py`)."""

    def legs(self, place: Place, pop: PopId, bits: int) -> tuple[float, float]:
        """One-way times up and down in seconds, drawn from 64 random bits."""
        ...


class Door:
    """What the front door knows: how to rank, who is alive, how far away everything is."""

    def __init__(
        self,
        *,
        router: Router,
        health: HealthTable,
        network: Network,
        retry: RetrySpec,
        time_scale: float = 1.0,
        setup_rtts: int = 2,
    ) -> None:
        self.router = router
        self.health = health
        self.network = network
        self.budget = RetryBudget(retry)
        self.time_scale = time_scale
        self.setup_rtts = setup_rtts
        """Round trips of a new client connection before its first request (TCP and TLS 1.3: RFC 9293, RFC 8446)."""


async def front_door(w: World, door: Door, request: Request) -> Response:
    """Have one request served and answered.

    A PoP that breaks before the first byte of its response is taken out, and the request goes to the next one as long as
    the retry budget and the body allow. Raises only when the client goes away or the reply breaks.
    """
    began_s = w.now()
    budget = door.budget
    budget.active += 1
    response = answer = CLIENT_GONE
    try:
        answer = await _forward(w, door, request)
        await w.sleep(request.back_s)
        response = answer
        try:
            await w.reply(request, response)
        except BaseException as error:
            response.outcome = _broken(error)
            raise
    finally:
        budget.active -= 1
        if not isinstance(answer.body, bytes):
            answer.body.close()  # also when the client has gone meanwhile: its guest must not run on
        if w.tells_requests:
            w.publish(_routed(request, response, w.now() - began_s))
    return response


def _routed(request: Request, response: Response, duration_s: float) -> RequestRouted:
    """What there is to tell of a request that is through."""
    return RequestRouted(
        response.pop,
        request.app,
        response.outcome,
        response.status,
        reason(request, response.pop),
        request.failed,
        request.network_s,
        duration_s,
        request.place.metro,
    )


def _broken(error: BaseException) -> Outcome:
    """What became of a request whose answer broke off on its way to the client."""
    if isinstance(error, PopUnreachableError):
        return "unreachable"
    if isinstance(error, OriginError):
        return "origin_error"
    return "guest_error" if isinstance(error, GuestError) else "client_gone"


async def _forward(w: World, door: Door, request: Request) -> Response:
    """Try PoPs until one answers."""
    replay = None
    if request.body is not None:
        request.body = replay = ReplayBody(request.body)
    budget = door.budget
    last: Response | None = None
    while True:
        # A pinned request has one place only.
        pop = request.pinned if request.pinned and last is None else door.router.choose(request, w.now())
        if pop is None:
            return last or Response(503, "no_pop", error="destination_unavailable", detail="no PoP is left to try")
        request.tries += 1
        retrying = bool(request.failed)
        budget.retrying += retrying
        try:
            return await _attempt(w, door, request, pop)
        except PopUnreachableError as error:
            door.health.fail(pop, w.now())
            request.failed = (*request.failed, pop)
            detail = f"{error.code}: {error.message}"
            last = Response(error.status, "unreachable", error=error.proxy_error, detail=detail)
            if not budget.allows(request.tries, retrying) or (replay is not None and not replay.rewind()):
                return last
        except DeadlineExceededError as error:
            return Response(error.status, "deadline", pop, error=error.proxy_error, detail=error.message)
        except RequestError as error:  # the client's own body, on its way to the PoP
            detail = f"{error.code}: {error.message}"
            return Response(error.status, "bad_request", error=error.proxy_error, detail=detail)
        finally:
            budget.retrying -= retrying


async def _attempt(w: World, door: Door, request: Request, pop: PopId) -> Response:
    """One try at one PoP: the way there, its answer, and in `request.back_s` how long the way back takes."""
    up_s = down_s = 0.0
    if request.inside != pop:
        up_s, down_s = door.network.legs(request.place, pop, request.stream.bits())
    connection = request.connection
    if connection.pop != pop:
        up_s += door.setup_rtts * (up_s + down_s)
    request.network_s += up_s + down_s
    request.back_s = down_s * door.time_scale
    await w.sleep(up_s * door.time_scale)
    try:
        response = await w.forward(pop, request)
    except BaseException:
        request.network_s -= down_s
        request.back_s = 0.0
        raise
    connection.pop = pop
    return response


def own_s(request: Request, response: Response, now_s: float, time_scale: float) -> float:
    """What the edge itself has taken of a request until now: all that neither network nor worker nor origin account for.

    Live that is parsing, waiting for event loops that are busy or woken late, and the hop to the PoP's process.
    """
    t = response.timings
    known_s = t.queue_s + t.start_s + t.instantiate_s + t.init_s + t.execute_s + t.origin_s + t.filter_s
    return now_s - request.arrived_s - request.network_s * time_scale - known_s


def reason(request: Request, pop: PopId) -> Reason:
    """Why `pop` answered."""
    if pop == NO_POP:
        return "none"
    if request.failed:
        return "failover"
    # A pinned request had no other choice, so nothing better was left out.
    return "first" if request.pinned or request.ranking[0] == pop else "skipped"
