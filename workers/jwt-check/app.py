"""A gate in Python: who brings a valid JWT gets in, everyone else a 401 that says why (RFC 6750)."""

import json
import time

from componentize_py_types import Ok
from tokens import InvalidToken, claims_of
from wit_world import exports
from wit_world.imports import store
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    """Imports and this class are made at build time; only `handle` runs per request."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Answer one request."""
        key = store.get("jwt_key")
        if not key:
            send(response_out, 500, {"error": "the variable jwt_key is not set"})
            return
        try:
            claims = claims_of(bearer(request), key.encode(), time.time())
        except InvalidToken as why:
            challenge = f'Bearer realm="edge", error="invalid_token", error_description="{why}"'
            send(response_out, 401, {"error": str(why)}, ("www-authenticate", challenge.encode()))
        else:
            send(response_out, 200, {"hello": claims.get("sub", "nobody"), "claims": claims})


def bearer(request: IncomingRequest) -> str:
    """The token of the Authorization field. Raises InvalidToken when there is none."""
    fields = request.headers().get("authorization")
    scheme, _, token = fields[0].decode("latin-1").partition(" ") if len(fields) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("send Authorization: Bearer <token>")
    return token.strip()


def send(out: ResponseOutparam, status: int, document: dict, *fields: tuple[str, bytes]) -> None:
    """A whole answer in JSON."""
    headers = [("content-type", b"application/json"), ("cache-control", b"no-store"), *fields]
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    with body.write() as stream:
        data = json.dumps(document).encode() + b"\n"
        for at in range(0, len(data), 4096):  # the most that this call takes at once
            stream.blocking_write_and_flush(data[at : at + 4096])
    OutgoingBody.finish(body, None)
