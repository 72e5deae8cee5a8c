"""Where a client is, by its IP address: the generated database of simulated clients, and the user's GeoIP file.

`ensure_database` writes a MaxMind City file (.mmdb) with one record per metro and access class in 240/8, 127/8 and
2001:db8::/32 (`model/address.py`); the same metros give the same bytes. `Locator` reads it on the hot path with maxminddb,
whose raw look-up costs a third of geoip2's; the file itself is an ordinary one that geoip2 and other tools read too.
Addresses outside these ranges go to the user's file (GeoLite2, GeoIP2, DB-IP or flat ones), else to the default metro.
Whether a header may be believed about the client's address is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from functools import lru_cache
from socket import AF_INET, inet_pton
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import maxminddb
from maxminddb import InvalidDatabaseError

from edgesim.errors import RequestError, StorageError, UsageError
from edgesim.model.address import decode, network, normalise
from edgesim.model.geo import LatLon, Metro, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

DEFAULT_METRO: Final = "London"
"""Where clients are whose address nothing is known about, such as 127.0.0.1."""

_FORMAT: Final = 1
"""Counted up when the records change, so that old files are not taken for new ones."""
_EPOCH: Final = 1_767_225_600
"""`build_epoch` of the file, 2026-01-01: a constant, so that a rebuild is equal byte by byte."""
_MAX_CACHED: Final = 65_536
_NO_PLACES: Final = ("ASN", "ISP", "Anonymous", "Connection-Type", "Domain", "User-Count")
"""Parts of `database_type` of files that say nothing about places."""

_log = logging.getLogger("edgesim.geoip")


def ensure_database(folder: Path, metros: Sequence[Metro], access: Sequence[str]) -> Path:
    """The database of simulated clients in `folder`; written when there is none for these metros and classes yet.

    Args:
        folder: where it is kept, such as the state directory; made when it is missing.
        metros: where clients come from.
        access: the access classes in the order of the address plan.

    Raises:
        StorageError: the folder cannot be written.
    """
    described = [(m.id, m.city, m.country, *m.at, m.timezone) for m in metros]
    content = json.dumps([_FORMAT, described, list(access)]).encode()
    path = folder / f"geoip-{hashlib.sha256(content).hexdigest()[:16]}.mmdb"
    if not _is_whole(path):
        build_database(path, metros, access)
    return path


def _is_whole(path: Path) -> bool:
    """Whether a database is there and opens; one that a power cut damaged is written anew."""
    try:
        open_database(path).close()
    except UsageError:
        return False
    return True


def build_database(path: Path, metros: Iterable[Metro], access: Sequence[str]) -> None:
    """Write the database of simulated clients; atomically, so that a reader sees the whole file or none.

    Raises:
        StorageError: it cannot be written.
    """
    from mmdb_writer import MMDBWriter  # noqa: PLC0415 - only the first start with new metros needs it
    from netaddr import IPSet  # noqa: PLC0415

    class Writer(MMDBWriter):  # type: ignore[misc] # has no types
        """The writer, with a build time of our own."""

        def _build_meta(self) -> dict[str, Any]:
            return {**super()._build_meta(), "build_epoch": _EPOCH}

    writer = Writer(
        ip_version=6,
        ipv4_compatible=True,
        database_type="Edgesim-City",  # geoip2's city() wants the word City in it
        languages=["en"],
        description={"en": "Simulated clients of edgesim"},
        int_type="u32",
        float_type="f64",
    )
    for metro in sorted(metros, key=lambda m: m.id):
        for index, name in enumerate(access):
            networks = [
                network(metro.id, index, "v4"),
                network(metro.id, index, "loopback"),
                network(metro.id, index, "v6"),
            ]
            writer.insert_network(IPSet(networks), _record(metro, name))
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.to_db_file(str(part))
        part.replace(path)
    except OSError as exc:
        hint = "free some space, or set EDGESIM_STATE to a folder that can be written"
        raise StorageError(f"cannot write {path}: {exc.strerror or exc}", where=str(path), help=hint) from exc
    finally:
        with suppress(OSError):
            part.unlink()  # there only when writing failed, and perhaps not even then


def _record(metro: Metro, access: str) -> dict[str, Any]:
    """One record in MaxMind's City shape; `edgesim` is ours and ignored by other readers."""
    country = {"iso_code": metro.country}
    return {
        "city": {"names": {"en": metro.city}},
        "country": country,
        "registered_country": country,
        "location": {
            "latitude": metro.at.lat,
            "longitude": metro.at.lon,
            "accuracy_radius": 50,
            "time_zone": metro.timezone,
        },
        "edgesim": {"metro": metro.id, "access": access},
    }


class Locator:
    """Finds the place of a client. One per process; bounded caches, no locks (one event loop).

    Args:
        builtin: the database of simulated clients (`ensure_database`).
        user_db: the user's MaxMind-shaped file for all other addresses.
        default: where a client is that neither knows.
        metros: their biggest per country stands for it when a file gives no coordinates.

    Raises:
        UsageError: a file is missing, or is no database of places.
    """

    def __init__(
        self, builtin: Path, user_db: Path | None = None, *, default: Metro, metros: Iterable[Metro] = ()
    ) -> None:
        self.default = default
        self.damaged = 0
        """Look-ups in the user's file that failed because the file is damaged; their clients are at the default."""
        self._builtin = open_database(builtin)
        self._user = open_database(user_db) if user_db else None
        self._countries: dict[str, LatLon] = {}
        for metro in sorted(metros, key=lambda m: -m.weight):
            self._countries.setdefault(metro.country, metro.at)
        self._simulated: dict[int, Place] = {}
        self._elsewhere = lru_cache(_MAX_CACHED)(self._locate_elsewhere)
        if "extension" not in type(self._builtin).__module__:
            _log.warning(
                "maxminddb runs without its C extension: look-ups are 10 times slower; reinstall maxminddb from a wheel"
            )

    def locate(self, address: str) -> Place:
        """The place of a client.

        Args:
            address: its IP address; IPv4 mapped into IPv6 (`::ffff:…`) counts as IPv4.

        Raises:
            RequestError: it is not an IP address.
        """
        try:
            if ":" in address:
                address = normalise(address)
            if ":" in address:
                return self._locate_v6(address)
            number = int.from_bytes(inet_pton(AF_INET, address), "big")
        except (ValueError, OSError) as exc:
            raise RequestError(f"'{address[:60]}' is not an IP address") from exc
        if number >> 24 not in (240, 127):
            return self._elsewhere(address)
        return self._locate_simulated(address, number >> 11)

    def close(self) -> None:
        """Close the files."""
        self._builtin.close()
        if self._user is not None:
            self._user.close()

    def _locate_v6(self, address: str) -> Place:
        client = decode(address)
        if client is None:
            return self._elsewhere(address)
        return self._locate_simulated(address, -(client.metro << 3 | client.access))

    def _locate_simulated(self, address: str, prefix: int) -> Place:
        """By the prefix that the address shares with its metro and class: a /21, or for IPv6 (negative) a /51."""
        known = self._simulated.get(prefix)
        if known is None:
            record = self._builtin.get(address)
            if not isinstance(record, dict):
                return self._elsewhere(address)
            known = _simulated_place(record)
            if len(self._simulated) < _MAX_CACHED:
                self._simulated[prefix] = known
        return Place(
            address=address, at=known.at, city=known.city, country=known.country, metro=known.metro, access=known.access
        )

    def _locate_elsewhere(self, address: str) -> Place:
        country, city, at = "", "", None
        if self._user is not None:
            try:
                country, city, at = read_record(self._user.get(address))
            except InvalidDatabaseError:
                self.damaged += 1
            except ValueError:
                pass  # an IPv6 address and a file with IPv4 alone: it does not know the client
        if at is None:
            at = self._countries.get(country)
        if at is None:
            default = self.default
            return Place(address=address, at=default.at, city=default.city, country=default.country, is_default=True)
        return Place(address=address, at=at, city=city, country=country)


def open_database(path: Path) -> maxminddb.Reader:
    """Open a MaxMind database with the C reader where it is there (MODE_AUTO; MODE_MEMORY would be pure Python).

    Raises:
        UsageError: it is missing, unreadable, damaged, or has no places.
    """
    hint = "a City or Country file in MaxMind's format is needed: GeoLite2-City.mmdb, GeoIP2-City.mmdb, dbip-city-lite.mmdb"
    try:
        reader = maxminddb.open_database(str(path), maxminddb.MODE_AUTO)
        kind = reader.metadata().database_type
        reader.get("192.0.2.1")
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise UsageError(f"cannot read the GeoIP database {path}: {why}", where=str(path), help=hint) from exc
    except (InvalidDatabaseError, ValueError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is not a MaxMind database, or is damaged", where=str(path), help=hint) from exc
    if any(word in kind for word in _NO_PLACES):
        reader.close()
        raise UsageError(f"{path} is a {kind} database: it has no places", where=str(path), help=hint)
    return reader


def read_record(record: object) -> tuple[str, str, LatLon | None]:
    """Country, city and coordinates in a record of a user's file; None for coordinates that are missing or impossible.

    Understands MaxMind's and DB-IP's shape (`location.latitude`), flat ones (`latitude` or `lat`, `longitude`, `lng` or
    `lon`, `country_code`) and a location written as `lat,lon`.
    """
    if not isinstance(record, dict):
        return "", "", None
    location = record.get("location", record.get("loc"))
    lat: Any = record.get("latitude", record.get("lat"))
    lon: Any = record.get("longitude", record.get("lng", record.get("lon")))
    if isinstance(location, dict):
        lat, lon = location.get("latitude"), location.get("longitude")
    elif isinstance(location, str):
        lat, _, lon = location.partition(",")
    country = record.get("country") or record.get("registered_country") or record.get("country_code")
    if isinstance(country, dict):
        country = country.get("iso_code")
    city = record.get("city")
    if isinstance(city, dict):
        city = _names(city).get("en")
    return str(country or ""), str(city or ""), _coordinates(lat, lon)


def _names(part: Mapping[str, Any]) -> Mapping[str, Any]:
    names = part.get("names")
    return names if isinstance(names, dict) else {}


def _coordinates(lat: object, lon: object) -> LatLon | None:
    try:
        at = LatLon(float(str(lat)), float(str(lon)))
    except ValueError:
        return None
    return at if -90 <= at.lat <= 90 and -180 <= at.lon <= 180 else None


def _simulated_place(record: dict[str, Any]) -> Place:
    """The place of a record of our own file, without an address."""
    location, own = record["location"], record["edgesim"]
    return Place(
        address="",
        at=LatLon(location["latitude"], location["longitude"]),
        city=record["city"]["names"]["en"],
        country=record["country"]["iso_code"],
        metro=own["metro"],
        access=own["access"],
    )
