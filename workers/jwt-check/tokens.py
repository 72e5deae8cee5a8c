"""JSON Web Tokens (RFC 7519) that are signed with HMAC-SHA-256: checks, nothing else."""

import base64
import binascii
import hmac
import json

TOKEN_BYTES_MAX = 8192


class InvalidToken(Exception):  # noqa: N818 - the error code of RFC 6750
    """The token is not to be believed; the text says why, without repeating the token."""


def claims_of(token: str, key: bytes, now_s: float) -> dict:
    """The claims of a token that is genuine and valid now. Raises InvalidToken."""
    if len(token) > TOKEN_BYTES_MAX:
        raise InvalidToken("the token is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("a token has three parts")
    header = _document(parts[0])
    if header.get("alg") != "HS256":  # never the token's choice: RFC 8725 §3.1; "none" ends here
        raise InvalidToken("the signature is not HS256")
    expected = hmac.digest(key, f"{parts[0]}.{parts[1]}".encode(), "sha256")
    if not hmac.compare_digest(expected, _decode(parts[2])):
        raise InvalidToken("the signature is wrong")
    claims = _document(parts[1])  # read only once it is genuine
    if not _number(claims, "nbf", now_s) <= now_s < _number(claims, "exp", float("inf")):
        raise InvalidToken("the token is not valid now")
    return claims


def _decode(part: str) -> bytes:
    """Base64url without padding (RFC 7515 §2)."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("a part is not base64url") from error


def _document(part: str) -> dict:
    try:
        document = json.loads(_decode(part))
    except (ValueError, RecursionError) as error:
        raise InvalidToken("a part is not JSON") from error
    if not isinstance(document, dict):
        raise InvalidToken("a part is not a JSON object")
    return document


def _number(claims: dict, name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} is not a number")
    return value
