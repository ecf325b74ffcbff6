"""Photometry as SkyPortal's own client sends and reads it, on both databases."""

import io

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skyportal_py import SkyPortalError, create_client
from skyportal_py.photometry import PhotometryPost, PhotometryUpdate

from firstlight.models.database import Database
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.objects.light_curve_export import LightCurveExport
from firstlight.services.objects.light_curve_plot import LightCurvePlots
from firstlight.services.objects.period_search import PeriodSearch
from firstlight.web.app import create_app
from photometry_world import SETTINGS, PhotometryWorld


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    opened = Database(request.getfixturevalue(f"{request.param}_url"))
    yield opened
    opened.dispose()


class Names:
    """Tokens are the names of people."""

    def __init__(self, world):
        self.viewers = {
            "ada": world.ada,
            "ben": world.ben,
            "eve": world.eve,
            "keeper": world.keeper,
        }

    def identify(self, token, *, from_loopback=False):
        return Viewer()

    def identify_token(self, token, address):
        if token not in self.viewers:
            raise TokenInvalid
        return self.viewers[token]


@pytest.fixture
def world(database):
    return PhotometryWorld(database)


@pytest.fixture
def address(world, make_services, serve):
    services = make_services(max_body_bytes=16 << 20)
    services.access = services.sign_in = Names(world)
    services.photometry = world.service
    services.photometry_reading = world.reading
    services.photometry_validations = world.validations
    services.light_curve_exports = LightCurveExport(database=world.database, settings=SETTINGS)
    services.period_search = PeriodSearch(plots=LightCurvePlots(database=world.database))
    yield serve(create_app(services))
    services.period_search.close()


@pytest.fixture
def ask(address):
    """A client of this person."""
    opened = []

    def make(name="ada"):
        opened.append(create_client(address, name, trust_env=False))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def rows(world, **given):
    return PhotometryPost(**world.columns(**given))


def test_the_life_of_points(world, ask):
    client = ask()
    posted = client.post_photometry(
        rows(world, mjd=[60000.1, 60001.1], mag=[18.5, None], magerr=[0.05, None])
    )
    assert len(posted.ids) == 2
    seen, limit = client.fetch_photometry(world.object)
    assert [seen.id, limit.id] == posted.ids
    assert (seen.mag, seen.magerr, seen.limiting_mag, seen.magsys) == (18.5, 0.05, 20.5, "ab")
    assert (limit.mag, limit.limiting_mag) == (None, 20.5)
    assert (seen.instrument_id, seen.filter, seen.obj_id) == (
        world.instrument,
        "sdssg",
        world.object,
    )
    assert any(group.single_user_group for group in seen.groups)

    again = client.upsert_photometry(rows(world, mjd=[60001.1, 60002.1], mag=None, magerr=None))
    assert again.ids[0] == limit.id
    client.update_photometry(seen.id, PhotometryUpdate(mag=18.6, magerr=0.04))
    assert client.fetch_photometry_point(seen.id).mag == 18.6
    client.delete_photometry(again.ids[1])
    assert len(client.fetch_photometry(world.object)) == 2
    assert client.bulk_delete_photometry(posted.upload_id) == "Deleted 2 photometry point(s)."
    client.post_photometry(rows(world))
    told = client.delete_source_photometry(world.object)
    assert told == f"Deleted 1 photometry point(s) of {world.object}."
    assert client.fetch_photometry(world.object) == []


@pytest.mark.parametrize(
    ("form", "system"), [("mag", "ab"), ("flux", "vega"), ("both", "bd17"), ("plot", "st")]
)
def test_every_format_and_system_fits_the_clients_model(world, ask, form, system):
    client = ask()
    client.post_photometry(
        rows(world, flux=[100.0, None], fluxerr=2.0, mjd=[1e4, 2e4], ref_flux=50.0, ref_fluxerr=1.0)
    )
    points = client.fetch_photometry(
        world.object, format=form, magsys=system, include_owner_info=True,
        include_stream_info=True, include_annotation_info=True, include_validation_info=True,
        include_extinction=True, include_super_objs_photometry=True, deduplicate_photometry=True,
    )  # fmt: skip
    assert len(points) == 2
    if form in {"flux", "both"}:
        assert points[0].tot_flux == pytest.approx(150.0)
    if form != "plot":
        assert points[0].owner.username.startswith("ada")
        assert points[0].magsys == system
    assert client.fetch_photometry(world.object, individual_or_series="series") == []


def test_range_origins_and_judgements(world, ask):
    client = ask()
    (number,) = client.post_photometry(rows(world, origin="night 7")).ids
    points = client.fetch_photometry_range(
        instrument_ids=[world.instrument], min_date="2023-01-01T00:00:00", max_date="2023-12-31"
    )
    assert [point.id for point in points] == [number]
    assert client.fetch_photometry_range(format="flux", magsys="vega")[0].flux > 0
    assert client.fetch_photometry_origins() == ["night 7"]
    assert client.post_photometry_validation(number, validated=True).id == number
    assert client.update_photometry_validation(number, notes="seen").id == number
    (point,) = client.fetch_photometry(world.object, include_validation_info=True)
    assert (point.validations[0].validated, point.validations[0].notes) == (True, "seen")
    assert client.delete_photometry_validation(number).id == number


def test_errors_are_the_clients_errors(world, ask):
    client = ask()
    client.post_photometry(rows(world))
    for status, act in (
        (409, lambda: client.post_photometry(rows(world))),
        (400, lambda: client.post_photometry(rows(world, filter="sdsg"))),
        (400, lambda: client.post_photometry(rows(world, mjd=[1.0, 2.0], mag=[1.0, 2.0, 3.0]))),
        (404, lambda: client.fetch_photometry("nothing")),
        (404, lambda: client.fetch_photometry_point(999_999)),
        (404, lambda: client.bulk_delete_photometry("no such upload")),
        (404, lambda: ask("eve").fetch_photometry(world.object)),
        (
            401,
            lambda: ask(None).post_photometry(rows(world)),
        ),
        (401, lambda: ask("nobody").fetch_photometry(world.object)),
        (403, lambda: ask("ben").upsert_photometry(rows(world), duplicate_ignore_flux=True)),
    ):
        with pytest.raises(SkyPortalError) as refused:
            act()
        assert refused.value.status_code == status
        assert "non-JSON" not in str(refused.value)


def test_groups_share(world, ask):
    (number,) = ask().post_photometry(rows(world, group_ids=[world.group])).ids
    assert [point.id for point in ask("ben").fetch_photometry(world.object)] == [number]
    ask("keeper").update_photometry(number, PhotometryUpdate(group_ids=[]))
    assert ask("ben").fetch_photometry(world.object) == []


def test_ten_thousand_rows(world, ask):
    n = 10_000
    payload = rows(
        world, mjd=(60000 + np.arange(n) / 100).tolist(), mag=[18.0] * n, magerr=[0.1] * n,
        limiting_mag=[21.0] * n, filter=["sdssg", "sdssr"] * (n // 2),
        altdata=[{"seeing": k / n} for k in range(n)],
    )  # fmt: skip
    posted = ask().post_photometry(payload)
    assert len(set(posted.ids)) == n
    assert ask().upsert_photometry(payload).ids == posted.ids


def test_the_light_curve_in_columns(world, ask, address):
    n = 500
    rng = np.random.default_rng(5)
    ask().post_photometry(
        rows(
            world, mjd=(60000 + np.sort(rng.random(n)) * 50).tolist(),
            mag=rng.normal(18, 1, n).tolist(), magerr=[0.1] * n,
            filter=["sdssg", "sdssr"] * (n // 2), limiting_mag=None,
        )
    )  # fmt: skip
    points = ask().fetch_photometry(world.object, format="both", magsys="vega")
    with httpx.Client(
        base_url=f"{address}/api/sources/{world.object}/",
        headers={"Authorization": "token ada"},
        trust_env=False,
    ) as client:

        def get(kind, **more):
            answer = client.get("light_curve", params={"format": kind, "magsys": "vega", **more})
            assert answer.status_code == 200, answer.text
            return answer

        arrow = pa.ipc.open_stream(get("arrow").content).read_all()
        parquet = pq.read_table(io.BytesIO(get("parquet").content))
        told = get("json").json()["data"]
        lines = [line for line in get("csv").text.splitlines() if not line.startswith("#")]
        assert arrow.num_rows == parquet.num_rows == told["points"] == len(lines) - 1 == n
        for name, of_client in (("id", "id"), ("mjd", "mjd"), ("mag", "mag"), ("flux", "flux")):
            wanted = [getattr(point, of_client) for point in points]
            assert arrow.column(name).to_pylist() == pytest.approx(wanted)
            assert parquet.column(name).to_pylist() == pytest.approx(wanted)
            assert told["columns"][name] == pytest.approx(wanted, rel=1e-6)
        bands = [told["names"]["filter"][code] for code in told["columns"]["filter"]]
        assert bands == arrow.column("filter").to_pylist() == [point.filter for point in points]
        some = get("json", points=60).json()["data"]
        assert (some["total"], some["points"] <= 60) == (n, True)
        assert max(some["columns"]["flux"]) == pytest.approx(max(told["columns"]["flux"]))
        assert client.get("light_curve", params={"format": "xml"}).status_code == 400
        assert client.get("light_curve", params={"points": 0}).status_code == 400
        hidden = client.get("light_curve", headers={"Authorization": "token eve"})
        assert hidden.status_code == 404


def test_a_period_is_found_in_another_process(world, ask, address):
    rng = np.random.default_rng(7)
    mjd = 60000 + np.sort(rng.random(300)) * 40
    flux = 100 * (1 + 0.1 * np.sin(2 * np.pi * mjd / 0.77))
    ask().post_photometry(
        rows(world, mjd=mjd.tolist(), flux=(flux + rng.normal(0, 2, 300)).tolist(), fluxerr=2.0)
    )
    headers = {"Authorization": "token ada"}
    url = f"{address}/api/sources/{world.object}/periods"
    with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
        found = client.get(url).json()["data"]
        assert found["best"]["period"] == pytest.approx(0.77, rel=1e-3)
        assert found["best"]["method"] == "sine"
        assert client.get(url).json()["data"] == found
        assert client.get(url, params={"method": "guess"}).status_code == 400
        empty = client.get(f"{address}/api/sources/{world.add_object()}/periods").json()["data"]
        assert (empty["best"], empty["candidates"]) == (None, [])


def test_there_are_no_series_of_their_own(ask, world):
    page = ask("keeper").fetch_photometric_series_page(object_id=world.object)
    assert (page.series, page.total_matches) == ([], 0)


def test_filters_are_listed(ask, world):
    answer = ask().get("/api/photometry/filters", params={"like": "ztfg"}).json()["data"]
    assert answer[0].keys() == {"name", "wavelength", "vega", "colour"}
    assert "ztfg" in [each["name"] for each in answer]
    everything = ask().get("/api/photometry/filters").json()["data"]
    assert len(everything) > 250
    assert [each["wavelength"] for each in everything] == sorted(
        e["wavelength"] for e in everything
    )
