"""A worker in Python: says hello from the PoP it runs on."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import environment
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    """What `wasi:http/incoming-handler` wants. The module was imported at build time; only this runs per request."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Answer one request."""
        path, _, _ = (request.path_with_query() or "/").partition("?")
        variables = dict(environment.get_environment())
        status, text = 200, f"hello from {variables.get('EDGESIM_POP')} v{variables.get('EDGESIM_VERSION')}\n"
        if path == "/teapot":
            status, text = 418, "short and stout\n"

        response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain")]))
        response.set_status_code(status)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(text.encode())
        OutgoingBody.finish(body, None)
