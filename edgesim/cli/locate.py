"""`edgesim locate`: what a GeoIP database says of an address, read with geoip2 as other programs would."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._options import json_option, state_option
from edgesim.cli._output import echo_json
from edgesim.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from geoip2.models import City, Country


@click.command(name="locate")
@click.argument("address")
@click.option(
    "--geoip-db",
    type=click.Path(path_type=Path),
    help="GeoLite2 or GeoIP2 file.  [default: the simulated clients, then the running edge's file]",
)
@state_option
@json_option
def command(address: str, geoip_db: Path | None, state: Path | None, as_json: bool) -> None:
    """Show where ADDRESS is. Simulated clients have addresses in 240/8, 127/8 and 2001:db8::/32."""
    database, record = _find(address, [geoip_db] if geoip_db else _databases(state))
    place = record.location if hasattr(record, "location") else None
    document = {
        "address": address,
        "database": str(database),
        "city": getattr(getattr(record, "city", None), "name", None) or "",
        "country": record.country.iso_code or record.registered_country.iso_code or "",
        "lat": getattr(place, "latitude", None),
        "lon": getattr(place, "longitude", None),
        "timezone": getattr(place, "time_zone", None) or "",
    }
    if as_json:
        echo_json("locate.v1", document)
        return
    where = ", ".join(str(document[name]) for name in ("city", "country") if document[name]) or "unknown place"
    at = f" at {document['lat']:.2f} {document['lon']:.2f}" if place is not None and place.latitude is not None else ""
    click.echo(f"{address}: {where}{at}  ({database.name})")


def _databases(state: Path | None) -> list[Path]:
    """Where an edge looks, in its order: the simulated clients (made when missing), then the running edge's own file."""
    from edgesim.config.catalogue import load_access, load_metros
    from edgesim.live.geoip import ensure_database
    from edgesim.live.state import find_state_dir, read_run

    folder = find_state_dir(state)
    simulated = ensure_database(folder / "geoip", load_metros(), load_access().names())
    run = read_run(folder)
    return [simulated, Path(run.geoip_db)] if run is not None and run.alive and run.geoip_db else [simulated]


def _find(address: str, databases: list[Path]) -> tuple[Path, City | Country]:
    """The first database that knows the address, and its record. Raises as `_look_up` does."""
    for database in databases[:-1]:
        with suppress(NotFoundError):
            return database, _look_up(database, address)
    return databases[-1], _look_up(databases[-1], address)


def _look_up(database: Path, address: str) -> City | Country:
    """The record of the address.

    Raises:
        UsageError: the file is no GeoIP database, or the text no address.
        NotFoundError: the database does not know the address.
    """
    import geoip2.database
    import geoip2.errors
    import maxminddb

    help_ = "give a GeoLite2 or GeoIP2 City or Country file (.mmdb)"
    try:
        with geoip2.database.Reader(database) as reader:
            look_up: Any = reader.city if "City" in reader.metadata().database_type else reader.country
            record: City | Country = look_up(address)
            return record
    except geoip2.errors.AddressNotFoundError as exc:
        raise NotFoundError(
            f"{address} is not in {database.name}",
            where=str(database),
            help="name a GeoLite2 or GeoIP2 file that knows it with --geoip-db",
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot read the database: {exc.strerror}", where=str(database), help=help_) from exc
    except (maxminddb.InvalidDatabaseError, TypeError) as exc:
        raise UsageError("not a GeoIP database of places", where=str(database), help=help_) from exc
    except ValueError as exc:
        raise UsageError(f"'{address[:60]}' is not an IP address") from exc
