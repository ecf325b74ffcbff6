"""A simulated PANOPTES observation, from its files to stamps and light curves in the tables."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from sqlalchemy import func, select

from firstlight.algorithms.flags import Flag
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.formats.tables import read_table
from firstlight.instruments import panoptes  # noqa: F401, registers the camera
from firstlight.models.data_root import configure_data_roots
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.object import Object
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.step_run import StepRun
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.stamp_light_curves import ObservationStamps
from firstlight.pipeline.standard import standard_recipe
from firstlight.services.calibration import CalibrationService
from firstlight.services.colour_settings import StampLightCurveSettings
from firstlight.services.light_curve_search import LightCurveSearch
from firstlight.services.observation_frames import reduced_frames
from firstlight.services.products import ProductFiles
from firstlight.services.reduction import ReductionService
from firstlight.services.settings import CalibrationSettings, ImageFileSettings
from firstlight.services.stamp_light_curves import StampLightCurveService
from firstlight.services.star_light_curve import StarNotFound
from firstlight.simulation.colour_night import (
    ColourNightSettings,
    ColourTruth,
    simulate_colour_night,
)
from firstlight.storage.folder import FolderStore

SETTINGS = ColourNightSettings(seed=3, n_exposures=11, rows=560, columns=560, drift=6.0)
N_REDUCED = 10


class House:
    """An archive with the reductions of all but the last exposure."""

    def __init__(self, folder) -> None:
        self.root = folder / "data"
        self.truth: ColourTruth = simulate_colour_night(SETTINGS, self.root, catalog=Tycho2())
        configure_data_roots(self.root)
        self.database = Database(f"sqlite:///{folder / 'test.sqlite'}")
        self.database.upgrade()
        self.store = FolderStore(self.root)
        catalog = Tycho2()
        self.recipe = standard_recipe(
            RecipeSettings(), astrometry=catalog, photometry=catalog, quads=None
        )
        files = ProductFiles(self.store, ImageFileSettings())
        self.reduction = ReductionService(
            database=self.database,
            files=files,
            recipe=self.recipe,
            calibration=CalibrationService(
                database=self.database, files=files, settings=CalibrationSettings()
            ),
        )
        self.observation = self._archive()
        for number in range(N_REDUCED):
            self.reduce(number)

    def _archive(self):
        row = Observation(
            instrument="PANOPTES",
            target=SETTINGS.field,
            night=SETTINGS.start.date(),
            sequence=SETTINGS.sequence_id,
        )
        row.identify()
        with self.database.begin() as session:
            session.add(row)
            session.flush()
            for number in range(SETTINGS.n_exposures):
                session.add(Exposure(SETTINGS.path(number), observation_id=row.id))
        return row.id

    def reduce(self, number: int) -> None:
        name = SETTINGS.path(number)
        with self.database.reading() as session:
            exposure = session.scalars(select(Exposure).where(Exposure.filename == name)).one()
        done = self.reduction.reduce_section({"exposure": str(exposure.id), "section": "G"})
        assert not [each for each in done["failures"] if "photometry" not in each], done

    def service(self, **settings) -> StampLightCurveService:
        return StampLightCurveService(
            database=self.database,
            store=self.store,
            catalog=Tycho2(),
            upstream=(self.recipe.lineages["solve_astrometry"],),
            settings=StampLightCurveSettings(**settings),
        )

    def count(self, table) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house"))
    yield made
    made.database.dispose()


@pytest.fixture(scope="module")
def solved(house):
    service = house.service()
    requests = service.plan()
    assert [r.payload for r in requests] == [{"observation": str(house.observation)}]
    return service.solve(requests[0].payload)


def test_stars_are_matched_and_have_stamps(house, solved):
    assert solved["failures"] == []
    assert solved["stars"] >= 150
    with house.database.reading() as session:
        file = session.scalars(select(ObservationFile)).one()
    assert (file.role, file.n_exposures) == ("stamps", N_REDUCED)
    table = read_table(house.store.read(file.key))
    assert file.size == len(house.store.read(file.key))
    stamps, names = ObservationStamps.from_columns(table.columns, table.metadata["pattern"])
    assert len(names) == solved["stars"]
    assert len(stamps.frames) == N_REDUCED
    # The stamps are where the stars truly are, and hold the raw pixels.
    truth, row = house.truth, int(np.flatnonzero(stamps.usable.all(axis=1))[0])
    x, y = truth.positions(4)
    nearest = np.hypot(x - stamps.x[row, 4], y - stamps.y[row, 4]).min()
    assert nearest < 0.5
    at = slice(stamps.ymin[row, 4], stamps.ymin[row, 4] + stamps.side)
    across = slice(stamps.xmin[row, 4], stamps.xmin[row, 4] + stamps.side)
    raw = (truth.raw(4)[at, across] - SETTINGS.bias) * SETTINGS.gain
    assert np.allclose(stamps.pixels[row, 4], raw)


def test_curves_of_each_colour_and_of_all_are_in_the_tables(house, solved):
    with house.database.reading() as session:
        sets = session.scalars(select(LightCurveSet)).all()
        assert sorted(each.section_id for each in sets) == ["B", "G", "R", "RGB"]
        assert {each.n_stars for each in sets} == {solved["stars"]}
        for each in sets:
            curves = session.scalars(select(LightCurve).where(LightCurve.set_id == each.id)).all()
            told = [c for c in curves if c.scatter is not None and c.n_points == N_REDUCED]
            assert len(told) > 50
            # Half of these stars have a neighbour within their stamps.
            ratio = np.median([c.scatter / c.expected_scatter for c in told])
            assert ratio == pytest.approx(1.1, abs=0.2)
            assert sum(c.is_candidate for c in curves) <= 4
            points = session.scalars(select(Photometry).where(Photometry.set_id == each.id)).all()
            assert len(points) == sum(c.n_points for c in curves)
            assert {p.filter for p in points} == {each.section_id}
            assert not [p for p in points if p.flags & int(Flag.SATURATED)]
            assert all(0 < p.bjd_tdb - 2400000.5 - p.mjd + 0.01 < 0.02 for p in points)
    assert house.count(Object) == solved["stars"]


def test_doing_it_again_changes_nothing(house, solved):
    service = house.service()
    assert service.plan() == []
    before = [house.count(t) for t in (LightCurveSet, Photometry, ObservationFile, Object)]
    assert service.solve({"observation": str(house.observation)})["failures"] == []
    assert before == [house.count(t) for t in (LightCurveSet, Photometry, ObservationFile, Object)]


def test_other_settings_are_other_products(house, solved):
    assert len(house.service(aperture_cutoff=0.2).plan()) == 1
    assert house.service(min_exposures=11).plan() == []


def test_what_cannot_be_is_told(house, solved):
    done = house.service(fewest_references=150, most_references=10).solve(
        {"observation": str(house.observation)}
    )
    assert done["stars"] == 0
    assert "no star has enough others" in done["failures"][0]
    missing = house.service(min_exposures=11).solve({"observation": str(house.observation)})
    assert missing["failures"] == ["stamps: too few solved exposures"]


def test_what_failed_for_the_data_is_tried_again_only_when_asked(house, solved):
    service = house.service(fewest_references=149, most_references=10)
    payload = {"observation": str(house.observation)}
    before = house.count(LightCurveSet)
    assert [r.payload for r in service.plan()] == [payload]
    assert service.solve(payload)["failures"]
    assert house.count(LightCurveSet) == before + 1
    assert service.plan() == []
    assert [r.payload for r in service.plan(retry_failed=True)] == [payload]
    # The same failure again is the same row, and nothing is shown of it.
    assert service.solve(payload)["failures"]
    assert house.count(LightCurveSet) == before + 1
    search = LightCurveSearch(database=house.database)
    assert search.statistics() == []
    house.service().plan()  # points the tag back
    assert search.statistics()


def test_a_star_is_one_entry_with_its_colours(house, solved):
    house.service().plan()
    search = LightCurveSearch(database=house.database)
    rows = search.statistics()
    assert len(rows) == solved["stars"]
    for row in rows:
        assert row["method"] == "stamps"
        assert row["section"] == "RGB"
        assert list(row["colours"]) == ["R", "G", "B"]
    told = [row for row in rows if row["scatter"] is not None]
    best = [min(c["rms"] for c in row["colours"].values()) / row["rms"] for row in told]
    assert np.median(best) > 1.1, "all colours together are better than the best of them"
    assert search.statistics(method="aperture") == []
    blended = [row["blended"] for row in rows if not row["is_candidate"]]
    assert blended == sorted(blended)
    bright = min((r for r in told if r["n_points"] == N_REDUCED), key=lambda r: r["mag"])
    curve = search.find(f"{bright['ra']} {bright['dec']}")
    assert curve.star.name == bright["name"]
    assert curve.methods == ("stamps",)
    assert curve.filters == ["R", "G", "B", "RGB"]
    assert curve.is_simultaneous
    assert [list(at["colours"]) for at in curve.by_time()] == [["B", "G", "R", "RGB"]] * N_REDUCED
    assert curve.scatter["RGB"]["scatter"] == pytest.approx(bright["scatter"], rel=1e-6)
    assert "RGB" in curve.sentence()
    with pytest.raises(StarNotFound):
        search.find(bright["name"], method="aperture")


def test_one_more_exposure_makes_a_new_job(house, solved):
    assert house.count(StepRun) == 4 * N_REDUCED
    house.reduce(N_REDUCED)
    assert len(house.service().plan()) == 1


def test_frames_of_one_observation_are_those_among_all(house, solved):
    with house.database.reading() as session:
        everything = reduced_frames(session)
        observations = {observation for observation, _ in everything}
        assert observations
        for observation in observations:
            own = reduced_frames(session, [observation])
            assert own.keys() == {key for key in everything if key[0] == observation}
            for key, frames in own.items():
                assert [frame.product_ids for frame in frames] == [
                    frame.product_ids for frame in everything[key]
                ]
        assert reduced_frames(session, [uuid.uuid4()]) == {}
    assert house.service().plan(observations=[uuid.uuid4()]) == []
