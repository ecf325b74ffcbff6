"""Which light curves are shown where an observation has several, and how colours are one entry."""

from __future__ import annotations

import uuid
from datetime import date

import pytest

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models import Object, Photometry
from firstlight.models.audience import public_audience
from firstlight.models.image import Image
from firstlight.models.observation import Observation
from firstlight.models.photometry import LightCurve, LightCurveSet
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.light_curve_methods import METHODS
from firstlight.services.light_curve_search import LightCurveSearch
from firstlight.services.star_light_curve import StarNotFound

STATISTICS = {"rms": 0.02, "false_alarm": 1.0}


class World:
    """Tables with light curves of any method."""

    def __init__(self, database):
        self.database = database
        self.search = LightCurveSearch(database=database)
        self.lineages = {method: Lineage(process, "1", {}) for method, process in METHODS.items()}
        with database.begin() as session:
            self.software = Software.record(session).id
            self.audience = public_audience(session)
            for lineage in self.lineages.values():
                ProvenanceTag.point(session, "current", lineage)
        made = {"provenance_id": self.lineages["aperture"].id, "software_id": self.software}
        self.image = self.add(
            Image(
                id=uuid.uuid4(), kind="science", instrument="GenericFITS", section_id="0",
                mjd=60_000.0, nx=10, ny=10, gain=1.0, read_noise=1.0, calibration={}, header={},
                filename="image", **made,
            )
        ).id  # fmt: skip

    def add(self, row):
        with self.database.begin() as session:
            session.add(row)
        return row

    def observation(self) -> uuid.UUID:
        row = Observation(instrument="PANOPTES", target=str(uuid.uuid4()), night=date(2026, 3, 1))
        row.identify()
        return self.add(row).id

    def star(self, name: str, ra: float) -> uuid.UUID:
        return self.add(
            Object(
                id=uuid.uuid4(),
                name=name,
                ra=ra,
                dec=10.0,
                hpx=int(healpix_index(ra, 10.0)),
                origin="test",
                audience_id=self.audience,
            )
        ).id

    def curves(self, observation, method, section, stars, *, n_points=1, lineage=None, **more):
        made = lineage or self.lineages[method]
        row = LightCurveSet(
            id=uuid.uuid4(), observation_id=observation, section_id=section, frame="sky",
            n_stars=len(stars), n_images=1, summary={}, provenance_id=made.id,
            software_id=self.software,
        )  # fmt: skip
        self.add(row)
        for number, star in enumerate(stars):
            told = {"scatter": 0.01, "is_candidate": False, "statistics": STATISTICS, **more}
            self.add(
                LightCurve(
                    set_id=row.id, number=number, object_id=star, x=1.0, y=float(number),
                    n_points=n_points, **told,
                )
            )  # fmt: skip
            for point in range(n_points):
                self.add(
                    Photometry(
                        key=uuid.uuid4(), audience_id=self.audience, object_id=star,
                        image_id=self.image, set_id=row.id,
                        provenance_id=made.id, mjd=60_000.0 + point, bjd_tdb=60_000.5 + point,
                        filter=section, rel_flux=1.0, rel_flux_err=0.01, x=1.0, y=1.0, flags=0,
                    )
                )  # fmt: skip

    def stamps(self, observation, stars, **more):
        for section in ("R", "G", "B", "RGB"):
            self.curves(observation, "stamps", section, stars, **more)


@pytest.fixture
def world(database) -> World:
    return World(database)


def test_stamps_come_before_apertures(world):
    observation, star = world.observation(), world.star("one", 10.0)
    for section in ("R", "G", "B"):
        world.curves(observation, "aperture", section, [star], scatter=0.5)
    assert world.search.find("one").filters == ["R", "G", "B"]
    assert len(world.search.statistics()) == 3
    world.stamps(observation, [star])
    (row,) = world.search.statistics()
    assert (row["method"], row["section"], row["scatter"]) == ("stamps", "RGB", 0.01)
    assert [colour["rms"] for colour in row["colours"].values()] == [0.02] * 3
    curve = world.search.find("one")
    assert (curve.methods, curve.filters) == (("stamps",), ["R", "G", "B", "RGB"])
    # Whoever wants the others says so.
    assert {row["scatter"] for row in world.search.statistics(method="aperture")} == {0.5}
    assert world.search.find("one", method="aperture").methods == ("aperture",)


def test_a_star_without_stamps_keeps_its_other_light_curve(world):
    observation = world.observation()
    bright, faint = world.star("bright", 10.0), world.star("faint", 10.1)
    world.curves(observation, "aperture", "G", [bright, faint])
    world.stamps(observation, [bright])
    assert world.search.find("faint").methods == ("aperture",)
    assert world.search.find("bright").methods == ("stamps",)


def test_stamps_without_a_point_are_no_light_curve(world):
    observation, star = world.observation(), world.star("saturated", 10.0)
    world.stamps(observation, [star], n_points=0)
    with pytest.raises(StarNotFound):
        world.search.find("saturated")
    world.curves(observation, "aperture", "G", [star])
    assert world.search.find("saturated").methods == ("aperture",)


def test_each_observation_has_its_own_method(world):
    star = world.star("one", 10.0)
    world.stamps(world.observation(), [star])
    world.curves(world.observation(), "aperture", "V", [star])
    assert sorted(row["method"] for row in world.search.statistics()) == ["aperture", "stamps"]
    curve = world.search.find("10 10")
    assert curve.methods == ("aperture", "stamps")
    assert set(curve.filters[:-1]) == {"V", "R", "G", "B"}
    assert curve.filters[-1] == "RGB"


def test_the_newest_of_the_current_provenance_is_shown(world):
    observation, star = world.observation(), world.star("one", 10.0)
    old = Lineage(METHODS["stamps"], "0", {})
    with world.database.begin() as session:
        Provenance.record(session, old)
    world.stamps(observation, [star], lineage=old, scatter=0.9)
    assert world.search.statistics() == []
    world.stamps(observation, [star], scatter=0.5)
    world.stamps(observation, [star], scatter=0.1)
    assert [row["scatter"] for row in world.search.statistics()] == [0.1]


def test_candidates_first_and_blends_last(world):
    for number, (name, told) in enumerate(
        [
            ("blend", {"statistics": {**STATISTICS, "false_alarm": 0.0, "blended": True}}),
            ("quiet", {}),
            ("variable", {"is_candidate": True}),
        ]
    ):
        world.curves(
            world.observation(), "stamps", "RGB", [world.star(name, 10.0 + number)], **told
        )
    names = [row["name"] for row in world.search.statistics()]
    assert names == ["variable", "quiet", "blend"]
    (only,) = world.search.statistics(candidates_only=True)
    assert only["name"] == "variable"
