"""Summaries of light curves: against the points themselves, and in the eyes of each viewer."""

import math
import uuid

import numpy as np
import pytest
from object_world import START, ObjectWorld

from firstlight.models.object import PhotometrySummary
from firstlight.models.observation import Observation
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.objects.object_parts import own_audiences, summaries_of
from firstlight.services.objects.object_summary import SummaryKeeper, summarise, visible_numbers


@pytest.fixture
def world(database):
    return ObjectWorld(database)


def random_points(rng, count):
    """Detections, limits, negative fluxes, magnitudes alone, in filters of two groups."""
    points = []
    for n in range(count):
        flux = float(rng.normal(20.0, 30.0))
        columns = {
            "mjd": float(60000 + rng.permutation(1000)[0] + n / 1000),
            "filter": str(rng.choice(["g", "r"])),
            "flux_ujy": flux,
            "flux_err_ujy": 5.0,
            "limiting_mag": 22.0 + float(rng.random()),
        }
        kind = rng.integers(4)
        if kind == 0:
            columns["flux_ujy"] = None
        if kind == 1:
            columns |= {
                "flux_ujy": None,
                "flux_err_ujy": None,
                "mag": 18.0 + n / 100,
                "mag_err": 0.1,
            }
        points.append((str(rng.choice(["A", "B", "AB"])), columns))
    return points


def expected(points):
    """The same numbers, from the points one by one."""
    seen = []
    for _, point in points:
        flux, err = point.get("flux_ujy"), point.get("flux_err_ujy")
        if flux is not None and flux >= 3 * err:
            seen.append((point["mjd"], 23.9 - 2.5 * math.log10(flux), point["filter"]))
        elif flux is None and point.get("mag") is not None:
            seen.append((point["mjd"], point["mag"], point["filter"]))
    if not seen:
        return None
    first, last, peak = min(seen), max(seen), min(seen, key=lambda one: one[1])
    mags = np.array([one[1] for one in seen])
    return {
        "n_points": len(points),
        "n_detections": len(seen),
        "first_detected_mjd": first[0],
        "first_detected_mag": first[1],
        "last_detected_mjd": last[0],
        "last_detected_mag": last[1],
        "last_detected_filter": last[2],
        "peak_mag": peak[1],
        "peak_mjd": peak[0],
        "faintest_mag": mags.max(),
        "mean_mag": mags.mean(),
        "scatter_mag": mags.std(),
        "deepest_limit": max(point["limiting_mag"] for _, point in points),
        "recent_mjd": max(point["mjd"] for _, point in points),
    }


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_those_of_the_points_that_each_viewer_sees(world, seed):
    ident = world.add("star", "AB")
    points = random_points(np.random.default_rng(seed), 60)
    world.points(ident, points)
    for name, viewer in world.viewers.items():
        own = set("AB") if name == "all" else set(name) if name in ("A", "B", "AB") else set()
        mine = [point for point in points if own & set(point[0])]
        with world.database.reading() as session:
            found = summaries_of(session, viewer, [ident])
        if not mine:
            assert found == {}
            continue
        numbers = found[ident][1]
        for key, value in expected(mine).items():
            assert numbers[key] == (value if isinstance(value, str) else pytest.approx(value)), key
        for band in "gr":
            part = expected([point for point in mine if point[1]["filter"] == band])
            assert numbers["filters"][band]["mean_mag"] == pytest.approx(part["mean_mag"])


def test_columns_are_those_of_all_points(world):
    ident = world.add("star", "AB")
    points = random_points(np.random.default_rng(9), 40)
    world.points(ident, points)
    with world.database.reading() as session:
        row = session.get(PhotometrySummary, ident)
        everything = expected(points)
        for column in ("n_points", "n_detections", "last_detected_mag", "peak_mag", "mean_mag"):
            assert getattr(row, column) == pytest.approx(everything[column]), column
        assert len(row.filters["audiences"]) == 3
        assert visible_numbers(row.filters, frozenset()) is None
        assert own_audiences(session, world.viewers["all"]) is None


def test_a_light_curve_without_detections(world):
    ident = world.add("faint")
    world.points(ident, [("A", {"mjd": 60000.0, "limiting_mag": 21.0, "filter": None})])
    with world.database.reading() as session:
        _, numbers = summaries_of(session, world.viewers["A"], [ident])[ident]
    assert (numbers["n_points"], numbers["n_detections"]) == (1, 0)
    assert (numbers["mean_mag"], numbers["last_detected_mjd"]) == (None, None)
    assert numbers["deepest_limit"] == 21.0


def test_relative_fluxes_are_detections_without_a_magnitude(world):
    ident = world.add("relative")
    world.points(ident, [("A", {"mjd": 60000.0, "rel_flux": 1.0, "rel_flux_err": 0.01})])
    with world.database.reading() as session:
        _, numbers = summaries_of(session, world.viewers["A"], [ident])[ident]
    assert (numbers["n_detections"], numbers["last_detected_mag"]) == (1, None)
    assert numbers["last_detected_mjd"] == 60000.0


def test_the_summary_goes_with_the_last_point(world):
    ident = world.add("star")
    world.points(ident, [("A", {"mjd": 60000.0, "mag": 15.0})])
    with world.database.begin() as session:
        session.query(Photometry).delete()
        assert summarise(session, [ident, None, ident]) == 0
    with world.database.reading() as session:
        assert session.get(PhotometrySummary, ident) is None


def test_missing_summaries_are_made_once(world):
    idents = [world.add(f"star {n}") for n in range(4)]
    for ident in idents[:3]:
        world.points(ident, [("A", {"mjd": 60000.0, "mag": 15.0})])
    with world.database.begin() as session:
        session.query(PhotometrySummary).delete()
    keeper = SummaryKeeper(database=world.database)
    assert keeper.make_missing() == 3
    assert keeper.make_missing() == 0


def test_only_the_current_set_of_an_observation_counts(world):
    ident = world.add("star")
    old, new, stamps = (uuid.uuid4() for _ in range(3))
    with world.database.begin() as session:
        software = Software.record(session)
        lines = {name: Lineage(name, "1") for name in ("light_curves", "stamp_light_curves")}
        for line in lines.values():
            Provenance.record(session, line)
        observation = Observation(
            id=uuid.uuid4(), instrument="X", target="T", night=START.date(), binning="1x1"
        )
        session.add(observation)
        session.flush()
        ProvenanceTag.point(session, "current", lines["light_curves"])
        for n, (one, made) in enumerate(
            ((old, "light_curves"), (new, "light_curves"), (stamps, "stamp_light_curves"))
        ):
            session.add(
                LightCurveSet(
                    id=one, provenance_id=lines[made].id, software_id=software.id,
                    observation_id=observation.id, section_id="0", frame="sky", n_stars=1,
                    n_images=1, summary={}, created_at=START.replace(day=n + 1),
                )
            )  # fmt: skip
            session.flush()
            session.add(LightCurve(set_id=one, number=0, object_id=ident, x=0, y=0, n_points=1,
                                   statistics={}))  # fmt: skip
    places = [(old, 15.0), (new, 14.0), (stamps, 13.0), (None, 12.0)]
    world.points(
        ident,
        [("A", {"mjd": 60000.0 + n, "mag": mag, "set_id": one})
         for n, (one, mag) in enumerate(places)],
    )  # fmt: skip

    def mags():
        with world.database.reading() as session:
            _, numbers = summaries_of(session, world.viewers["A"], [ident])[ident]
        return numbers["n_points"], numbers["faintest_mag"]

    assert mags() == (2, 14.0), "the newer set, and what others sent"
    with world.database.begin() as session:
        ProvenanceTag.point(session, "current", lines["stamp_light_curves"])
        summarise(session, [ident])
    assert mags() == (2, 13.0), "stamps come before apertures"
