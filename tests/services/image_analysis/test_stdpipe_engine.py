"""The engine `stdpipe`: through a stand-in of its functions, and through itself where it is."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from astropy.table import Table
from image_portal import Portal, fits_bytes

from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.services.image_analysis.stdpipe_engine import StdpipeMeasurer, installed_engines
from simulated_image import GAIN, ZERO, simulated_image

MAG, STARS = 17.0, 130


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(3, mag=MAG, stars=STARS, colour_term=0.15)


@pytest.fixture
def stand_in(monkeypatch, simulated):
    """STDPipe's functions, answering what is true of the simulated image."""
    stars = simulated.catalog
    x, y = simulated.projection.sky_to_pixel(stars.ra, stars.dec)
    inside = (x > 12) & (x < 407) & (y > 12) & (y < 287)
    x, y = x[inside], y[inside]
    light = stars.mag[inside] + 0.15 * (stars.colour[inside] - 0.7) - ZERO
    asked = []

    def get_objects_sep(image, **options):
        asked.append(("detect", options["gain"], float(np.median(image))))
        return Table({"x": x, "y": y, "flags": np.zeros(len(x), int), "fwhm": np.full(len(x), 3.0)})

    def measure_objects(table, image, **options):
        asked.append(("measure", options["aper"], options["sn"]))
        done = table.copy()
        target = MAG + 0.15 * (simulated.colour - 0.7) - ZERO
        done["mag"] = light if len(table) > 1 else [target]
        done["flux"] = 10 ** (-0.4 * done["mag"])
        done["fluxerr"] = np.full(len(done), 40.0)
        done["magerr"] = 1.0857 * done["fluxerr"] / done["flux"]
        done["flags"] = np.zeros(len(done), int)
        return done

    def calibrate_photometry(table, catalog, **options):
        asked.append(("calibrate", options["cat_col_mag"], options.get("cat_col_mag1")))
        zero = np.full(len(table), ZERO + 0.105)

        def zero_fn(x, y, mag=None, get_err=False):
            return np.full(len(x), 0.01 if get_err else ZERO + 0.105)

        return {
            "idx": np.ones(len(table), bool), "zero": zero, "zero_model": zero - 0.01,
            "color_term": -0.15, "color_term_err": 0.01, "intrinsic_rms": 0.0,
            "color": np.zeros(len(table)), "zero_fn": zero_fn,
        }  # fmt: skip

    photometry, pipeline = ModuleType("stdpipe.photometry"), ModuleType("stdpipe.pipeline")
    photometry.get_objects_sep, photometry.measure_objects = get_objects_sep, measure_objects
    pipeline.calibrate_photometry = calibrate_photometry
    pipeline.refine_astrometry = lambda *args, **options: None
    for module in (ModuleType("stdpipe"), photometry, pipeline):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_the_form_runs_through_it(database, store, simulated, stand_in):
    portal = Portal(database, store, measurers={"stdpipe": StdpipeMeasurer()})
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    told = portal.analysed(ada, simulated, engine="stdpipe", colour=simulated.colour, aperture=1.5)
    assert told["state"] == "done"
    assert told["engine"] == "stdpipe"
    measured = told["preview"]["methods"]["aperture"]
    # The colour term is applied, and the target has a colour of its own.
    assert measured["magnitude"] == pytest.approx(MAG, abs=1e-6)
    assert measured["magnitude_err"] >= 0.01
    assert measured["colour_term"] == -0.15
    states = {step["name"]: step["state"] for step in told["steps"]}
    assert states["limit"] == states["cosmic_rays"] == "skipped"
    assert states["target"] == states["zero_point"] == "done"
    # It was given electrons, the aperture that was chosen, and the colours of the catalogue.
    kind, gain, level = stand_in[0]
    assert (kind, gain) == ("detect", 1.0)
    assert level == pytest.approx(GAIN * np.median(simulated.raw.pixels), rel=0.01)
    assert ("measure", 1.5, None) in stand_in
    assert ("calibrate", "mag", "colour") in stand_in
    accepted = portal.analyses.accept(ada, told["id"])
    assert accepted["photometry_id"] is not None


def test_what_it_cannot_do_is_told(database, store, stand_in):
    portal = Portal(database, store, measurers={"stdpipe": StdpipeMeasurer()})
    ada = portal.user("ada")
    blind = simulated_image(1, mag=17.0, stars=STARS, wcs=False)
    portal.object("star", blind.ra, blind.dec, [ada])
    told = portal.analysed(ada, blind, engine="stdpipe")
    assert told["state"] == "failed"
    assert told["error"]["code"] == "astrometry.not_solved"
    assert "engine firstlight" in told["error"]["hint"]


def test_a_fault_of_it_is_not_ours(database, store, simulated, stand_in, monkeypatch):
    def broken(*args, **options):
        raise TypeError("a change of its libraries")

    monkeypatch.setattr(sys.modules["stdpipe.pipeline"], "calibrate_photometry", broken)
    portal = Portal(database, store, measurers={"stdpipe": StdpipeMeasurer()})
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    told = portal.analysed(ada, simulated, engine="stdpipe")
    assert (told["error"]["step"], told["error"]["code"]) == ("zero_point", "internal")
    assert "STDPipe failed" in told["error"]["message"]
    assert "engine firstlight" in told["error"]["hint"]


def test_where_it_is_missing_that_is_said(database, store, simulated, monkeypatch):
    monkeypatch.setitem(sys.modules, "stdpipe", None)
    monkeypatch.setitem(sys.modules, "stdpipe.photometry", None)
    portal = Portal(database, store, measurers={"stdpipe": StdpipeMeasurer()})
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    told = portal.analysed(ada, simulated, engine="stdpipe")
    assert told["error"]["code"] == "dependency.missing"
    assert "firstlight[stdpipe]" in told["error"]["hint"]


def test_engines_that_are_installed():
    assert installed_engines()[0] == "firstlight"
    assert ("stdpipe" in installed_engines()) == (find_spec("stdpipe") is not None)


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("stdpipe") is None, reason="STDPipe is not installed")
def test_stdpipe_itself_agrees_with_the_truth(tmp_path):
    apart = []
    for seed in range(8):
        simulated = simulated_image(seed, mag=MAG, stars=STARS, colour_term=0.15)
        path = tmp_path / f"{seed}.fits"
        path.write_bytes(fits_bytes(simulated.raw))
        result = StdpipeMeasurer().measure(
            path, (simulated.ra, simulated.dec), ImageAnalysisSettings(colour=simulated.colour),
            catalog=simulated.catalog, max_pixels=10**7, on_step=lambda _: None,
        ).result  # fmt: skip
        result.raise_if_failed()
        apart.append((result.magnitude - MAG) / result.magnitude_err)
    assert np.abs(apart).max() < 4
    assert abs(np.mean(apart)) < 1.2
