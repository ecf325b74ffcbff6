from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.catalog_settings import BUILT_IN, OnlineSettings
from firstlight.catalogs.online import (
    CatalogAnswerBad,
    CatalogQueryRefused,
    CatalogUnreachable,
    OnlineCatalog,
    _stars,
)
from firstlight.errors import InvalidInput, Kind
from firstlight.formats.tables import read_table

ANSWERS = Path(__file__).parents[1] / "data" / "tap"
FIELD = (30.0, 46.7, 0.5)

Reply = Callable[[BaseHTTPRequestHandler], None]


def send(name: str, status: int = 200) -> Reply:
    payload = (ANSWERS / name).read_bytes()
    return lambda handler: respond(handler, payload, status)


def respond(handler: BaseHTTPRequestHandler, payload: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/x-votable+xml")
    handler.send_header("Content-Length", str(len(payload)))
    handler.end_headers()
    handler.wfile.write(payload)


def status(code: int) -> Reply:
    return lambda handler: respond(handler, b"Service Temporarily Unavailable", code)


def cut(name: str, keep: float) -> Reply:
    """The first part, sent as if it were the whole."""
    payload = (ANSWERS / name).read_bytes()
    return lambda handler: respond(handler, payload[: int(len(payload) * keep)])


def dropped(handler: BaseHTTPRequestHandler) -> None:
    """A length is announced and not kept."""
    payload = (ANSWERS / "gaia_dr3.vot").read_bytes()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(payload)))
    handler.end_headers()
    handler.wfile.write(payload[:2000])


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no single wait is long, all together are."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(100):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


@dataclass
class Service:
    """A TAP service that gives prepared replies in turn, the last one for ever."""

    replies: list[Reply]
    queries: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service([send("gaia_dr3.vot")])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            assert parts.path == "/tap/sync"
            made.fields = parse_qs(parts.query)
            made.queries.append(made.fields["QUERY"][0])
            made.replies[min(len(made.queries), len(made.replies)) - 1](self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/tap"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def catalog(service, tmp_path):
    """Makes catalogues of the service that share a cache; waits are recorded, not waited."""

    def make(name: str = "gaia_dr3", **changes: object) -> OnlineCatalog:
        wanted = OnlineSettings(
            **{
                "cache_dir": tmp_path,
                "services": {"vizier": service.url},
                "time_limit_s": 20,
                **changes,
            }
        )
        made = OnlineCatalog(name, BUILT_IN[name], wanted, sleep=waits.append)
        made.waits = waits
        return made

    waits: list[float] = []
    return make


def test_gaia_is_moved_to_the_epoch_and_its_errors_grow(catalog):
    now = catalog().cone(*FIELD, epoch=2016.0)
    later = catalog().cone(*FIELD, epoch=2026.0)
    assert len(now) == len(later) == 14
    assert (now.band, now.system, now.colour_name) == ("G", "Vega", "BP-RP")
    assert (np.diff(now.mag) > 0.0).all()
    fast = 3
    moved = angular_separation(now.ra[fast], now.dec[fast], later.ra[fast], later.dec[fast])
    assert moved * 3600 == pytest.approx(17.0, abs=1e-3)
    assert (later.ra[fast] - now.ra[fast]) * np.cos(
        np.radians(now.dec[fast])
    ) * 3600 == pytest.approx(15.0, abs=0.01)
    assert now.position_err[0] == pytest.approx(19.03e-6, rel=1e-3)
    # 0.019 mas a year where the motion is known, 8 mas a year where it is not.
    assert later.position_err[0] == pytest.approx(0.000191, rel=0.01)
    assert later.position_err[7] == pytest.approx(0.08, rel=0.01)
    assert np.isnan(now.colour[11])
    assert np.isfinite(np.delete(now.colour, 11)).all()


def test_refcat2_and_ps1_are_read(service, catalog):
    service.replies = [send("refcat2.vot")]
    stars = catalog("refcat2").cone(*FIELD)
    assert (stars.band, stars.system, stars.colour_name) == ("r", "AB", "g-r")
    assert len(stars) == 8
    assert np.isnan(stars.colour[5])
    np.testing.assert_allclose(np.delete(stars.colour, 5), 0.6, atol=1e-5)
    service.replies = [send("ps1.vot")]
    stars = catalog("ps1").cone(*FIELD, epoch=2012.0)
    assert (stars.band, stars.system, stars.colour_name) == ("r", "AB", "g-r")
    np.testing.assert_allclose(stars.colour, 0.4, atol=1e-6)
    np.testing.assert_allclose(stars.position_err, 0.03)


def test_the_question_is_adql_for_the_wanted_stars(service, catalog):
    catalog().cone(*FIELD, faintest=15.3)
    query = service.queries[0]
    assert service.fields["LANG"] == ["ADQL"]
    assert query.startswith('SELECT TOP 50000 "RA_ICRS", "DE_ICRS", "Gmag", ')
    assert 'FROM "I/355/gaiadr3" WHERE 1 = CONTAINS(POINT(' in query
    assert '"Gmag" <= 16.00' in query
    assert query.endswith('ORDER BY "Gmag"')
    ra, dec, radius = (float(x) for x in query.split("CIRCLE('ICRS', ")[1].split(")")[0].split(","))
    # The question covers what was wanted, and not much more.
    assert angular_separation(ra, dec, *FIELD[:2]) + FIELD[2] <= radius < 1.6 * FIELD[2]


@pytest.mark.parametrize("ra", [0.0001, 180.0, 359.9999])
@pytest.mark.parametrize("dec", [-90.0, -45.0, 0.0, 89.99, 90.0])
@pytest.mark.parametrize("radius", [0.01, 0.3, 5.0, 60.0, 180.0])
def test_the_question_covers_the_cone_everywhere(service, catalog, ra, dec, radius):
    service.replies = [send("gaia_dr3_empty.vot")]
    catalog().cone(ra, dec, radius)
    text = service.queries[0].split("CIRCLE('ICRS', ")[1].split(")")[0]
    asked = [float(x) for x in text.split(",")]
    # With an arcminute to spare, for stars that move in.
    needed = angular_separation(ra, dec, *asked[:2]) + radius + 1 / 60
    assert asked[2] == 180.0 or needed <= asked[2]


def test_the_frames_of_a_night_share_one_answer(service, catalog):
    first = catalog().cone(*FIELD)
    for shift in np.linspace(-0.02, 0.02, 9):
        catalog().cone(30.0 + shift, 46.7 - shift, 0.45, epoch=2020.0)
    again = catalog().cone(*FIELD)
    np.testing.assert_array_equal(first.ra, again.ra)
    assert len(service.queries) <= 2


def test_a_smaller_or_brighter_cone_is_cut_from_a_kept_one(service, catalog):
    catalog().cone(*FIELD)
    small = catalog(offline=True).cone(30.0, 46.7, 0.2, epoch=2016.0, faintest=14.0)
    assert 0 < len(small) < 14
    assert (angular_separation(30.0, 46.7, small.ra, small.dec) <= 0.2).all()
    assert (small.mag <= 14.0).all()
    assert len(service.queries) == 1


def test_a_deeper_cone_is_asked_for_again(service, catalog):
    catalog().cone(*FIELD, faintest=12.0)
    catalog().cone(*FIELD, faintest=17.0)
    assert len(service.queries) == 2
    catalog().cone(*FIELD, faintest=13.0)
    assert len(service.queries) == 2


def test_a_full_answer_serves_only_its_own_question(service, catalog):
    catalog(max_stars=14).cone(*FIELD)
    with pytest.raises(CatalogUnreachable):
        catalog(max_stars=14, offline=True).cone(30.0, 46.7, 0.1)
    assert len(catalog(max_stars=14, offline=True).cone(*FIELD)) == 14


def test_no_stars_is_an_answer(service, catalog):
    service.replies = [send("gaia_dr3_empty.vot")]
    assert len(catalog().cone(*FIELD)) == 0
    stars = catalog(offline=True).cone(*FIELD)
    assert len(stars) == 0
    assert len(service.queries) == 1


def test_a_busy_service_is_asked_again(service, catalog):
    service.replies = [status(503), status(502), send("gaia_dr3.vot")]
    made = catalog(backoff_s=0.5)
    assert len(made.cone(*FIELD)) == 14
    assert made.waits == [0.5, 1.0]


@pytest.mark.parametrize("broken", [dropped, cut("gaia_dr3.vot", 0.5), cut("gaia_dr3.vot", 0.97)])
def test_a_broken_answer_is_asked_for_again(service, catalog, broken):
    service.replies = [broken, send("gaia_dr3.vot")]
    assert len(catalog().cone(*FIELD)) == 14


@pytest.mark.parametrize(
    "broken",
    [dropped, *(cut("gaia_dr3.vot", k) for k in (0.0, 0.1, 0.3, 0.9)), cut("refcat2.vot", 0.9)],
)
def test_a_broken_answer_is_never_kept(service, catalog, broken, tmp_path):
    service.replies = [broken]
    with pytest.raises(CatalogAnswerBad) as caught:
        catalog(attempts=2).cone(*FIELD)
    assert caught.value.kind is Kind.REMOTE
    assert len(service.queries) == 2
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("name", ["gaia_dr3", "refcat2", "ps1"])
def test_wherever_an_answer_is_cut_it_is_noticed(name):
    whole = (ANSWERS / f"{name}.vot").read_bytes().rstrip()
    layout = BUILT_IN[name].layout
    assert len(_stars(whole, layout, "url")[layout.mag]) > 5
    for length in [*range(0, len(whole), 19), len(whole) - 1]:
        with pytest.raises(CatalogAnswerBad):
            _stars(whole[:length], layout, "url")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_answer_is_read_or_refused(data):
    whole = bytearray((ANSWERS / "gaia_dr3.vot").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(whole) - 1))
        length = data.draw(st.integers(0, 30))
        whole[first : first + length] = data.draw(st.binary(max_size=8))
    try:
        columns = _stars(bytes(whole), BUILT_IN["gaia_dr3"].layout, "url")
    except (CatalogAnswerBad, CatalogQueryRefused):
        return  # no other error may come out
    assert len({len(values) for values in columns.values()}) == 1


def test_text_where_a_number_should_be_is_refused():
    text = (ANSWERS / "gaia_dr3.vot").read_text()
    text = text.replace(
        'name="Gmag" datatype="double"', 'name="Gmag" datatype="char" arraysize="*"'
    )
    changed = text.replace("<TD>9.", "<TD>N.", 1).encode()
    with pytest.raises(CatalogAnswerBad) as caught:
        _stars(changed, BUILT_IN["gaia_dr3"].layout, "url")
    assert caught.value.field == "Gmag"


def test_an_answer_without_a_wanted_column_names_it(service, catalog):
    service.replies = [send("ps1.vot")]
    with pytest.raises(CatalogAnswerBad) as caught:
        catalog(attempts=1).cone(*FIELD)
    assert caught.value.field == "RA_ICRS"


@pytest.mark.parametrize("code", [200, 400])
def test_a_refusal_carries_the_words_of_the_service(service, catalog, code, tmp_path):
    service.replies = [send("refused.vot", code)]
    with pytest.raises(CatalogQueryRefused, match="Unknown table"):
        catalog().cone(*FIELD)
    assert len(service.queries) == 1
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_service_that_stays_busy_is_unreachable(service, catalog):
    service.replies = [status(503)]
    made = catalog(attempts=3)
    with pytest.raises(CatalogUnreachable, match="503"):
        made.cone(*FIELD)
    assert len(service.queries) == 3


def test_a_slow_service_is_given_up_in_time(service, catalog):
    service.replies = [dripping]
    # Waited for to its end, it would be an answer cut short.
    with pytest.raises(CatalogUnreachable, match=r"too long|timed out"):
        catalog(time_limit_s=0.3).cone(*FIELD)


def test_no_connection_says_where_it_looked_and_what_to_do(tmp_path):
    wanted = OnlineSettings(
        cache_dir=tmp_path, services={"vizier": "http://127.0.0.1:9/tap"}, attempts=2
    )
    made = OnlineCatalog("gaia_dr3", BUILT_IN["gaia_dr3"], wanted, sleep=lambda _: None)
    with pytest.raises(CatalogUnreachable) as caught:
        made.cone(*FIELD)
    assert str(made.answers.folder) in caught.value.found
    assert "catalogs.local" in caught.value.hint
    assert caught.value.kind is Kind.REMOTE


def test_offline_never_asks(service, catalog):
    with pytest.raises(CatalogUnreachable, match="offline"):
        catalog(offline=True).cone(*FIELD)
    assert service.queries == []


def test_a_url_that_is_not_http_is_refused(tmp_path):
    wanted = OnlineSettings(cache_dir=tmp_path, services={"vizier": "file:///etc"})
    with pytest.raises(CatalogQueryRefused):
        OnlineCatalog("gaia_dr3", BUILT_IN["gaia_dr3"], wanted).cone(*FIELD)


def test_a_kept_answer_holds_its_question(catalog, tmp_path):
    catalog().cone(*FIELD)
    (path,) = tmp_path.rglob("*.parquet")
    facts = read_table(path).metadata
    assert facts["catalog"] == "gaia_dr3"
    assert facts["complete"] is True
    assert facts["query"].startswith("SELECT TOP")
    assert not [p for p in path.parent.iterdir() if p != path]


def test_a_damaged_answer_is_replaced(service, catalog, tmp_path):
    catalog().cone(*FIELD)
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:500])
    assert len(catalog().cone(*FIELD)) == 14
    assert len(service.queries) == 2
    assert read_table(path).rows == 14


def test_the_cache_keeps_within_its_room_and_drops_the_oldest(service, catalog, tmp_path):
    catalog().cone(*FIELD)
    (first,) = tmp_path.rglob("*.parquet")
    room = int(first.stat().st_size * 3.5)
    for number in range(5):
        catalog(cache_bytes=room).cone(30.0 + 10 * number, 46.7, 0.5)
        for age, path in enumerate(sorted(tmp_path.rglob("*.parquet"))):
            facts = path.stat()
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - 10**9 - age))
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.parquet")) <= room
    with pytest.raises(CatalogUnreachable):
        catalog(cache_bytes=room, offline=True).cone(40.0, 46.7, 0.5)
    catalog(cache_bytes=room, offline=True).cone(70.0, 46.7, 0.5)


def test_an_answer_in_use_outlives_an_older_one_that_is_not(service, catalog, tmp_path):
    catalog().cone(30.0, 46.7, 0.5)
    catalog().cone(40.0, 46.7, 0.5)
    room = sum(p.stat().st_size for p in tmp_path.rglob("*.parquet")) + 10
    for path in tmp_path.rglob("*.parquet"):
        os.utime(path, ns=(0, 10**9 * (1 if "ra030" in path.name or "ra029" in path.name else 2)))
    catalog(cache_bytes=room).cone(30.0, 46.7, 0.5)
    catalog(cache_bytes=room).cone(70.0, 46.7, 0.5)
    assert len(service.queries) == 3
    catalog(offline=True).cone(30.0, 46.7, 0.5)
    with pytest.raises(CatalogUnreachable):
        catalog(offline=True).cone(40.0, 46.7, 0.5)


def test_the_newest_answer_stays_however_small_the_room(service, catalog):
    catalog(cache_bytes=1).cone(*FIELD)
    catalog(offline=True).cone(*FIELD)
    catalog(cache_bytes=0).cone(40.0, 46.7, 0.5)
    with pytest.raises(CatalogUnreachable):
        catalog(offline=True).cone(40.0, 46.7, 0.5)


def test_a_cache_that_cannot_be_written_does_not_cost_the_stars(service, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    wanted = OnlineSettings(cache_dir=tmp_path / "file", services={"vizier": service.url})
    made = OnlineCatalog("gaia_dr3", BUILT_IN["gaia_dr3"], wanted)
    assert len(made.cone(*FIELD)) == 14
    assert "cannot keep the answer" in caplog.text


def test_the_release_says_what_was_asked_and_not_of_whom(catalog):
    assert catalog().release.startswith("gaia_dr3-I/355/gaiadr3-")
    assert catalog().release == catalog(services={"vizier": "http://mirror/tap"}).release
    assert catalog().release != catalog(max_stars=10).release


@pytest.mark.parametrize("cone", [(np.nan, 0.0, 1.0), (0.0, 91.0, 1.0), (0.0, 0.0, 0.0)])
def test_impossible_cones_are_refused(catalog, cone):
    with pytest.raises(InvalidInput):
        catalog().cone(*cone)
