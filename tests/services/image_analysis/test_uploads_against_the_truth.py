"""Injected targets through the whole service: uploaded, queued, measured, accepted, and right.

The same is tested of the measurement alone in ``tests/pipeline/test_image_analysis.py``. Here it
is the points of the light curve that are compared, so that nothing between may spoil a number.

``FIRSTLIGHT_UPLOADS`` says how many uploads of each kind the nightly test makes, 600 without it;
one takes about 0.4 s of processor time. With fewer than 400 luck alone can reach its bounds.
"""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest
from image_portal import FEW, Portal, fits_bytes
from sqlalchemy import select

from firstlight.models.photometry import Photometry
from firstlight.services.image_analysis.image_analysis_queue import job_id
from simulated_image import simulated_image

UPLOADS = int(os.environ.get("FIRSTLIGHT_UPLOADS", "600"))
STARS = 130
FAINTEST, BRIGHTEST = 21.6, 16.0
OF_VEGA = 0.017  # mag: V_T of Vega is so much fainter than its AB magnitude
CASES = {
    "colours given": {"colour_term": 0.15},
    "colours not known": {"colour_term": 0.15, "blind": True},
    "no colours, Vega": {"with_colours": False, "system": "Vega", "band": "VT"},
    "colours given, Vega": {"colour_term": 0.15, "system": "Vega", "band": "VT"},
    "tall and tilted": {"shape": (440, 260), "gradient": 0.06},
}
WAYS = {
    "field.fits": fits_bytes,
    "field.fits.fz": lambda raw: fits_bytes(raw, packed=True),
    "field.fits.gz": lambda raw: gzip.compress(fits_bytes(raw), 1),
}


@pytest.fixture
def portal(database, store):
    return Portal(database, store)


def pull(portal, viewer, seed, *, blind=False, **truth):
    """(flux of the accepted point - truth) / its error."""
    mag = float(np.random.default_rng(20_000 + seed).uniform(BRIGHTEST, FAINTEST))
    simulated = simulated_image(seed, mag=mag, stars=STARS, **truth)
    name = f"star {seed}"
    portal.object(name, simulated.ra, simulated.dec, [viewer])
    portal.catalog = simulated.catalog
    filename, packed = list(WAYS.items())[seed % len(WAYS)]
    upload = portal.upload(viewer, packed(simulated.raw), filename)
    known = "colour_term" in truth and not blind
    given = {"colour": simulated.colour} if known else {}
    number = portal.analyses.start(viewer, name, [upload["id"]], {**FEW, **given})[0]["id"]
    portal.queue.run()
    assert portal.jobs.submitted[-1] == job_id(number)
    assert portal.run.run({"analysis": number})["state"] == "done"
    preview = portal.analyses.get(viewer, number)["preview"]
    portal.analyses.accept(viewer, number)
    query = select(Photometry).where(Photometry.image_analysis_id == number)
    point = portal.rows(query)[0]
    measured = preview["methods"][preview["chosen"]]
    assert point.flux_ujy == pytest.approx(measured["flux_ujy"], rel=1e-6)
    assert (point.mag, point.limiting_mag is None) == (measured["magnitude"], False)
    expected = 10 ** (-0.4 * (mag - (OF_VEGA if point.mag_system == "Vega" else 0.0) - 23.9))
    return (point.flux_ujy - expected) / point.flux_err_ujy


def pulls(portal, cases, first=0):
    """Of one case for each seed from the first."""
    ada = portal.user("ada")
    return np.array([pull(portal, ada, seed, **case) for seed, case in enumerate(cases, first)])


@pytest.mark.slow
def test_a_few_uploads_of_every_kind_are_right(portal):
    """24 of the cases in turn; the bounds are three sigma of as many."""
    told = pulls(portal, (list(CASES.values()) * 5)[:24])
    assert np.abs(told).max() < 4
    assert abs(told.mean()) < 3 / np.sqrt(24)
    assert told.std() == pytest.approx(1.0, abs=3 / np.sqrt(48))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_uploads_are_unbiased_with_honest_errors(portal, name, record_testsuite_property):
    # So many that luck alone, one sigma of which is 0.04, does not reach the bound; and other
    # skies for each, so that no two share their luck.
    told = pulls(portal, [CASES[name]] * UPLOADS, 1000 * (1 + list(CASES).index(name)))
    record_testsuite_property(f"{name}: mean pull", float(told.mean()))
    record_testsuite_property(f"{name}: width", float(told.std()))
    assert abs(told.mean()) <= 0.15
    assert told.std() == pytest.approx(1.0, abs=0.15)
    assert np.mean(np.abs(told) > 4) <= 0.01
