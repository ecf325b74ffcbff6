from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.catalogs.base import ReferenceStars
from firstlight.errors import BadSettings, ConflictError
from firstlight.simulation.colour_night import (
    PATTERN,
    ColourNightSettings,
    ColourTruth,
    simulate_colour_night,
)

SMALL = ColourNightSettings(rows=300, columns=260, n_exposures=3, stars_per_square_degree=600)


@pytest.fixture(scope="module")
def truth() -> ColourTruth:
    return ColourTruth.draw(SMALL)


def test_the_same_seed_is_the_same_night_and_another_is_another(truth):
    again = ColourTruth.draw(SMALL)
    other = ColourTruth.draw(SMALL.model_copy(update={"seed": 2}))
    assert np.array_equal(again.raw(1), truth.raw(1))
    assert not np.array_equal(other.raw(1), truth.raw(1))
    assert not np.array_equal(truth.raw(0), truth.raw(1))


def test_noise_is_that_of_photons_and_read_out(truth):
    expected = truth.expected(0)
    adu = expected / SMALL.gain + SMALL.bias
    # Half an ADU of rounding has a variance of a twelfth.
    sigma = np.sqrt(expected + SMALL.read_noise**2 + SMALL.gain**2 / 12) / SMALL.gain
    below = adu + 6 * sigma < SMALL.bias + SMALL.saturation
    pull = ((truth.raw(0) - adu) / sigma)[below]
    assert pull.mean() == pytest.approx(0, abs=0.02)
    assert pull.std() == pytest.approx(1, abs=0.02)


def test_pixels_clip_at_saturation(truth):
    bright = truth.expected(0) > 1.2 * SMALL.gain * SMALL.saturation
    assert bright.any()
    assert (truth.raw(0)[bright] == SMALL.bias + SMALL.saturation).all()
    assert truth.raw(0).max() == SMALL.bias + SMALL.saturation


def test_the_sky_differs_by_colour_and_slopes(truth):
    sky, letters = truth.sky(0), colour_of_pixels((300, 260), PATTERN)
    assert np.median(sky[letters == "R"]) == pytest.approx(
        0.7 * np.median(sky[letters == "G"]), rel=0.01
    )
    green = sky[letters == "G"]
    assert green.max() / green.min() > 1.1


def test_a_star_alone_has_the_light_it_adds_to_the_image(truth):
    star = int(truth.undisturbed()[0])
    x, y = (float(p[star]) for p in truth.positions(1))
    corner = 2 * int(y / 2) - 8, 2 * int(x / 2) - 8
    alone = truth.star_light(1, star, corner, 18)
    at = slice(corner[0], corner[0] + 18), slice(corner[1], corner[1] + 18)
    left = truth.expected(1)[at] - truth.sky(1)[at] - alone
    core = slice(5, 13)
    assert np.abs(left[core, core]).max() < 0.05 * alone.max()
    assert left.min() > -1e-6


def test_the_field_drifts_as_asked():
    settings = SMALL.model_copy(update={"drift": 10.0, "drift_angle": 90.0, "wobble": 0.0})
    truth = ColourTruth.draw(settings)
    first, last = (np.array(truth.positions(f)) for f in (0, settings.n_exposures - 1))
    middle = np.hypot(*(first - np.array([[130], [150]]))) < 80
    moved = np.median((last - first)[:, middle], axis=1)
    assert moved == pytest.approx([0, 10], abs=0.3)


def test_two_stars_carry_the_signals_and_the_others_are_constant():
    truth = ColourTruth.draw(ColourNightSettings(n_exposures=60, cadence=60))
    pulse, dip = (truth.relative_flux(s.star) for s in (truth.pulsator, truth.transit))
    assert truth.pulsator.star != truth.transit.star
    assert np.ptp(pulse) == pytest.approx(0.02, abs=0.001)
    assert dip.min() == pytest.approx(0.99, abs=2e-4)
    assert dip.max() == 1
    other = next(
        s for s in truth.undisturbed() if s not in (truth.pulsator.star, truth.transit.star)
    )
    assert (truth.relative_flux(int(other)) == 1).all()
    ratio = (
        truth.electrons(30, "R")[truth.transit.star] / truth.electrons(0, "R")[truth.transit.star]
    )
    still = truth.electrons(30, "R")[other] / truth.electrons(0, "R")[other]
    assert ratio / still == pytest.approx(dip[30], abs=0.004)  # haze and vignetting differ by place


def test_files_bear_the_names_paths_and_cards_of_the_network(tmp_path):
    truth = simulate_colour_night(SMALL, tmp_path)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("PAN001/**/*.fits"))
    assert names[0] == "PAN001/14d3bd/20180216T110623/20180216T110623.fits"
    assert len(names) == 3
    with fits.open(tmp_path / names[1]) as opened:
        header, data = opened[0].header, opened[0].data
    assert header["SEQID"] == "PAN001_14d3bd_20180216T110623"
    assert header["IMAGEID"] == "PAN001_14d3bd_20180216T110848"
    assert header["INSTRUME"] == "14d3bd"
    assert header["DATE-OBS"] == "2018-02-16T11:08:48"
    assert data.dtype == np.uint16
    assert np.array_equal(data, truth.raw(1))
    facts = json.loads((tmp_path / "truth" / "colour_truth.json").read_text())
    assert facts["transit"]["star"] == truth.transit.star
    for name, signal in (("pulsator", truth.pulsator), ("transit", truth.transit)):
        place = facts[name]["ra"], facts[name]["dec"]
        assert place == truth.place(signal) == (truth.ra[signal.star], truth.dec[signal.star])
        assert np.allclose(facts[name]["relative_flux"], truth.relative_flux(signal.star))
    assert not list(tmp_path.glob("**/*.partial"))


def test_another_night_in_the_folder_is_not_mixed_in(tmp_path):
    told: list[int] = []
    simulate_colour_night(SMALL, tmp_path, progress=told.append)
    assert told == [1, 2, 3]
    simulate_colour_night(SMALL, tmp_path)
    with pytest.raises(ConflictError, match="another simulated night"):
        simulate_colour_night(SMALL.model_copy(update={"seed": 2}), tmp_path)
    other = tmp_path / "other"
    (other / "truth").mkdir(parents=True)
    (other / "truth" / "truth.json").write_text("{}")
    with pytest.raises(ConflictError):
        simulate_colour_night(SMALL, other)


class FewStars:
    name, release = "few", "1"

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None) -> ReferenceStars:
        mag = np.array([7.0, 8.0, 9.0, 9.5, 9.9])
        blank = np.full(5, np.nan)
        places = np.linspace(-0.2, 0.2, 5)
        return ReferenceStars(ra + places, dec + places, mag, blank, blank, "VT", "Vega")


def test_catalogue_stars_come_first_and_invented_ones_are_fainter():
    truth = ColourTruth.draw(SMALL, FewStars())
    assert truth.magnitude[:5] == pytest.approx([7.0, 8.0, 9.0, 9.5, 9.9])
    assert truth.magnitude[5:].min() > 9.5


def test_a_sky_too_empty_for_signals_says_so():
    with pytest.raises(BadSettings, match="stars_per_square_degree"):
        ColourTruth.draw(SMALL.model_copy(update={"stars_per_square_degree": 1.0}))


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="drfit"):
        ColourNightSettings(drfit=3)
