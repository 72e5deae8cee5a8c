"""What an edge tells workers, filters and origins about the client: header fields `x-edge-client-…` of the request.

As `CF-IPCity` at Cloudflare or `CloudFront-Viewer-City` there. Clients cannot send them: the servers of `http_server.py` drop
every field that begins with PREFIX, and the PoP then adds its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from edgesim.model.geo import Place
    from edgesim.model.http import Headers

PREFIX: Final = "x-edge-client-"
_KEPT: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""Everything printable of ASCII save the percent sign stands for itself."""


def client_fields(place: Place) -> Headers:
    """Address, city, country (ISO 3166-1 alpha-2), and degrees north and east; what is unknown is left out.

    What is not printable ASCII in a city's name is percent-encoded UTF-8, as CloudFront does: `S%C3%A3o Paulo`.
    """
    fields = [
        (PREFIX + "address", place.address),
        (PREFIX + "city", place.city),
        (PREFIX + "country", place.country),
        (PREFIX + "latitude", f"{place.at.lat:.4f}"),
        (PREFIX + "longitude", f"{place.at.lon:.4f}"),
    ]
    return tuple(
        (name, value if value.isalnum() and value.isascii() else quote(value, _KEPT)) for name, value in fields if value
    )
