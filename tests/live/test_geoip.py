"""The generated database and the locator, our file and foreign ones."""

from __future__ import annotations

import geoip2.database
import maxminddb
import pytest

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.errors import RequestError, StorageError, UsageError
from edgesim.live import geoip
from edgesim.live.geoip import DEFAULT_METRO, Locator, build_database, ensure_database, open_database, read_record
from edgesim.model.address import client_address
from edgesim.model.geo import LatLon
from tests.support.data import data_file

METROS = load_metros()
ACCESS = load_access().names()
LONDON = find_metro(DEFAULT_METRO)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The generated database."""
    return ensure_database(tmp_path_factory.mktemp("state"), METROS, ACCESS)


@pytest.fixture
def locator(database):
    """A locator without a user's file."""
    with_builtin = Locator(database, default=LONDON, metros=METROS)
    yield with_builtin
    with_builtin.close()


def test_rebuilds_are_equal_byte_by_byte(database, tmp_path):
    """The same metros give the same bytes, in whatever order they come."""
    build_database(tmp_path / "again.mmdb", reversed(METROS), ACCESS)

    assert (tmp_path / "again.mmdb").read_bytes() == database.read_bytes()


def test_built_once_and_again_when_metros_change(tmp_path, monkeypatch):
    """A file is kept as long as its content is the same; other metros get another file; a damaged one is rebuilt."""
    first = ensure_database(tmp_path, METROS[:2], ACCESS)
    other = ensure_database(tmp_path, METROS[:3], ACCESS)
    whole = first.read_bytes()
    first.write_bytes(whole[:100])
    rebuilt = ensure_database(tmp_path, METROS[:2], ACCESS)
    monkeypatch.setattr(geoip, "build_database", None)
    kept = ensure_database(tmp_path, METROS[:2], ACCESS)

    assert first == rebuilt == kept != other
    assert first.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


def test_a_folder_that_cannot_be_written(tmp_path):
    """The error says what to do, and nothing is left behind."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot write") as error:
        ensure_database(tmp_path / "file", METROS[:1], ACCESS)

    assert "EDGESIM_STATE" in error.value.help


def test_every_metro_and_class(locator):
    """Each simulated client is found in its metro with its access class, in all three families."""
    for metro in METROS:
        for index, name in enumerate(ACCESS):
            for family in ("v4", "loopback", "v6"):
                address = client_address(metro.id, index, 2047, family)
                place = locator.locate(address)

                assert (place.address, place.metro, place.access, place.at) == (address, metro.id, name, metro.at)


def test_mapped_addresses(locator):
    """What a dual-stack listener hands out is the same client."""
    assert locator.locate("::ffff:240.0.72.5") == locator.locate("240.0.72.5")
    assert locator.locate("240.0.72.6").address == "240.0.72.6"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "8.8.8.8", "240.255.255.255", "2001:db8:400::1", "2606:4700::1"]
)
def test_unknown_addresses_are_at_the_default(locator, address):
    """Loopback, real addresses without a user's file, and unused metros are in the default metro's place."""
    place = locator.locate(address)

    assert (place.address, place.city, place.at, place.metro, place.access) == (address, "London", LONDON.at, 0, "")
    assert place.is_default
    assert not locator.locate("240.0.72.5").is_default


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::g", "1.2.3.4 ", "1.2.3.4\0", "é", "240.0.72.256"]
)
def test_no_address(locator, text):
    """Text that is no address is the client's mistake."""
    with pytest.raises(RequestError, match="is not an IP address"):
        locator.locate(text)


def test_geoip2_reads_our_file(database):
    """The ordinary reader's city() understands it, in IPv4 and IPv6."""
    with geoip2.database.Reader(database) as reader:
        tokyo, again = reader.city("240.0.72.5"), reader.city(client_address(1, 1, 5, "v6"))
        kind = reader.metadata().database_type

    assert (tokyo.city.name, tokyo.country.iso_code, tokyo.location.time_zone) == ("Tokyo", "JP", "Asia/Tokyo")
    assert (tokyo.location.latitude, tokyo.location.longitude) == tuple(find_metro("Tokyo").at)
    assert again.city.name == "Tokyo"
    assert kind == "Edgesim-City"


def test_the_c_reader_is_used(database):
    """MODE_AUTO picks the extension; MODE_MEMORY would be pure Python."""
    reader = open_database(database)

    assert type(reader).__module__ == "maxminddb.extension"
    reader.close()


def test_a_warning_without_the_c_reader(database, monkeypatch, caplog):
    """Ten times slower look-ups do not go unnoticed, and work."""
    opened = maxminddb.open_database
    monkeypatch.setattr(geoip.maxminddb, "open_database", lambda path, _mode: opened(path, maxminddb.MODE_MMAP))
    slow = Locator(database, default=LONDON)

    assert "without its C extension" in caplog.text
    assert slow.locate("240.0.72.5").city == "Tokyo"
    slow.close()


@pytest.mark.parametrize("content", [None, b"", b"hello", b"\xab\xcd\xefMaxMind.com"])
def test_a_wrong_user_file(database, tmp_path, content):
    """A missing file and one that is no database are errors that name the file and say what is needed."""
    path = tmp_path / "user.mmdb"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError, match=r"user\.mmdb") as error:
        Locator(database, path, default=LONDON)

    assert "GeoLite2-City.mmdb" in error.value.help


def written(path, kind: str, records: dict[str, object], ip_version: int = 6):
    """A database of our own with the given records, as a user might have one."""
    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    writer = MMDBWriter(ip_version=ip_version, ipv4_compatible=ip_version == 6, database_type=kind, float_type="f64")
    for net, record in records.items():
        writer.insert_network(IPSet([net]), record)
    writer.to_db_file(str(path))
    return path


def test_a_country_file(database, tmp_path):
    """Without coordinates, a client is in its country's biggest metro; without that, at the default."""
    records = {
        "1.0.0.0/24": {"country": {"iso_code": "US"}},
        "1.0.1.0/24": {"registered_country": {"iso_code": "AU"}},
        "1.0.2.0/24": {"country": {"iso_code": "AQ"}},
    }
    user = written(tmp_path / "country.mmdb", "GeoLite2-Country", records)
    locator = Locator(database, user, default=LONDON, metros=METROS)

    assert locator.locate("1.0.0.9").at == find_metro("New York").at
    assert locator.locate("1.0.1.9").at == find_metro("Sydney").at
    assert locator.locate("1.0.2.9").at == LONDON.at
    assert locator.locate("240.0.72.5").city == "Tokyo"
    locator.close()


def test_an_ipv4_file_and_an_ipv6_client(database, tmp_path):
    """A file with IPv4 alone does not know the client; that is no error."""
    user = written(tmp_path / "v4.mmdb", "X-City", {"1.0.0.0/24": {"country": "FR"}}, ip_version=4)
    locator = Locator(database, user, default=LONDON, metros=METROS)

    assert locator.locate("2606:4700::1").at == LONDON.at
    assert locator.locate("1.0.0.1").at == find_metro("Paris").at
    locator.close()


def test_a_file_without_places(database, tmp_path):
    """An ASN file is refused by name."""
    user = written(tmp_path / "asn.mmdb", "GeoLite2-ASN", {"1.0.0.0/24": {"autonomous_system_number": 1}})

    with pytest.raises(UsageError, match="is a GeoLite2-ASN database: it has no places"):
        Locator(database, user, default=LONDON)


def test_a_damaged_user_file(database, tmp_path):
    """Damage that shows only at a look-up costs that client its place, not its request, and is counted."""
    user = written(tmp_path / "user.mmdb", "X-City", {"1.0.0.0/24": {"country": "FR", "lat": 1.5, "lon": 2.5}})
    raw = user.read_bytes()
    start = raw.index(b"Gcountry") - 8
    user.write_bytes(raw[:start] + b"\xff" * 24 + raw[start + 24 :])
    locator = Locator(database, user, default=LONDON, metros=METROS)

    assert locator.locate("1.0.0.1").at == LONDON.at
    assert locator.damaged == 1
    locator.close()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"location": {"latitude": 1.5, "longitude": 2.5}, "country": {"iso_code": "FR"}},
            ("FR", "", LatLon(1.5, 2.5)),
        ),
        ({"latitude": "1.5", "longitude": "2.5", "country_code": "FR", "city": "X"}, ("FR", "X", LatLon(1.5, 2.5))),
        ({"lat": 1, "lng": 2, "country": "FR"}, ("FR", "", LatLon(1, 2))),
        ({"loc": "1.5,2.5", "country": "FR"}, ("FR", "", LatLon(1.5, 2.5))),
        ({"city": {"names": {"en": "Paris"}}, "registered_country": {"iso_code": "FR"}}, ("FR", "Paris", None)),
        ({"lat": "", "lon": "", "country": "FR"}, ("FR", "", None)),
        ({"lat": 91, "lon": 0}, ("", "", None)),
        ({"lat": "nan", "lon": 0}, ("", "", None)),
        ({"location": {}}, ("", "", None)),
        (None, ("", "", None)),
        ("text", ("", "", None)),
    ],
)
def test_shapes_of_records(record, expected):
    """MaxMind's, DB-IP's and flat files; what is missing or impossible is None."""
    assert read_record(record) == expected


@pytest.mark.parametrize("name", ["GeoIP2-City-Test.mmdb", "GeoLite2-City-Test.mmdb"])
def test_maxminds_own_files(database, name):
    """MaxMind's test databases work as a user's file: known addresses are where geoip2 says."""
    path = data_file(name)
    locator = Locator(database, path, default=LONDON, metros=METROS)
    with geoip2.database.Reader(path) as reader:
        for address in (
            "81.2.69.142",
            "216.160.83.56",
            "89.160.20.112",
            "175.16.199.1",
            "2.125.160.216",
            "67.43.156.1",
        ):
            expected, place = reader.city(address), locator.locate(address)

            assert place.at == (expected.location.latitude, expected.location.longitude)
            assert (place.country, place.city) == (expected.country.iso_code, expected.city.name or "")
            assert locator.locate(f"::ffff:{address}") == place
    assert locator.locate("240.0.72.5").city == "Tokyo"
    locator.close()
