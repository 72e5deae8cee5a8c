"""A worker. Modules are imported when it is built; per request only `handle` runs."""

from urllib.parse import unquote

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import environment
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    """What `wasi:http/incoming-handler` wants."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Answer one request."""
        variables = dict(environment.get_environment())
        cities = request.headers().get("x-edge-client-city")
        city = unquote(cities[0].decode()) if cities else "the world"
        send(response_out, 200, f"hello {city}, this is {variables['EDGESIM_POP']}\n")


def send(out: ResponseOutparam, status: int, text: str) -> None:
    """A whole answer; one call takes at most 4096 bytes."""
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain; charset=utf-8")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    with body.write() as stream:
        data = text.encode()
        for at in range(0, len(data), 4096):
            stream.blocking_write_and_flush(data[at : at + 4096])
    OutgoingBody.finish(body, None)
