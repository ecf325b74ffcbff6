"""Candidates are found once each, where they are, and as bright as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import fftconvolve
from white_difference import FWHM, Source, light_of, on_a_net, psf, subtracted, unit_error

from firstlight.algorithms.candidates.find import Candidates, find_candidates
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.errors import InvalidInput

SHAPE = (160, 200)


def test_sources_of_both_signs_are_found_where_they_are():
    sources = [Source(40.3, 50.7, 4000.0), Source(120.0, 80.5, -2500.0)]
    found = find_candidates(subtracted(light_of(sources, SHAPE), 1), FWHM)
    assert len(found) == 2
    for k, source in enumerate(sources):
        assert np.hypot(found.x[k] - source.x, found.y[k] - source.y) < 0.5
        assert abs(found.flux[k] - source.flux) < 4 * found.flux_error[k]
        assert np.sign(found.score[k]) == np.sign(source.flux)
    assert abs(found.score[0]) > abs(found.score[1])
    assert found.peaks.tolist() == [1, 1]
    assert found.opposite.tolist() == [0.0, 0.0]


def test_noise_alone_gives_no_candidate():
    assert len(find_candidates(subtracted(np.zeros((512, 512)), 2), FWHM)) == 0


def test_positions_are_as_good_as_noise_allows():
    sources = on_a_net((900, 900), 45, 12 * unit_error(), 3)
    told = subtracted(light_of(sources, (900, 900)), 4)
    found = find_candidates(told, FWHM)
    assert len(found) == len(sources)
    places = np.column_stack([found.x, found.y])
    off = np.concatenate(
        [places[np.hypot(*(places - (s.x, s.y)).T).argmin()] - (s.x, s.y) for s in sources]
    )
    slope = np.gradient(psf())[1]
    bound = np.sqrt((psf() ** 2).sum() / (slope**2).sum()) / 12
    assert np.std(off) < 1.12 * bound
    assert abs(off.mean()) < 4 * bound / np.sqrt(off.size)


def test_a_peak_between_pixels_is_as_high_as_one_on_a_pixel():
    flux = 5.1 * unit_error()
    told = subtracted(light_of([Source(60.5, 60.5, flux)], SHAPE), None)
    assert told.score.max() < 5.0
    found = find_candidates(told, FWHM)
    assert len(found) == 1
    assert found.score[0] == pytest.approx(5.1, abs=0.06)
    assert (found.x[0], found.y[0]) == pytest.approx((60.5, 60.5), abs=0.02)


def test_a_dipole_is_one_candidate():
    sources = [Source(80.0, 80.0, 9000.0), Source(83.0, 81.0, -8000.0)]
    found = find_candidates(subtracted(light_of(sources, SHAPE), 5), FWHM)
    assert len(found) == 1
    assert found.peaks[0] == 2
    assert found.score[0] > 0 > found.opposite[0]
    assert abs(found.opposite[0]) > 5


def test_neighbours_of_one_sign_stay_two():
    sources = [Source(80.0, 80.0, 6000.0), Source(91.0, 80.0, 3000.0)]
    found = find_candidates(subtracted(light_of(sources, SHAPE), 6), FWHM)
    assert found.peaks.tolist() == [1, 1]


def ringing(fwhm=FWHM):
    """A PSF with a negative ring, as differences have it where the reference is the sharper."""
    stamp = psf(fwhm=fwhm) - 0.8 * psf(fwhm=1.8 * fwhm)
    return stamp / stamp.max() * psf().max()


def test_the_rings_of_a_bright_source_are_its_own():
    light, flux = np.zeros(SHAPE), 200 * unit_error()
    light[66:95, 86:115] = flux * ringing()
    told = subtracted(light, 7)
    power = (ringing() ** 2).sum()
    score = fftconvolve(told.difference, ringing(), mode="same") / np.sqrt(power) / 10.0
    stamps = ringing()[None, None].astype(np.float32)
    told = replace(
        told, score=score.astype(np.float32), psfs=PsfGrid(stamps, told.psfs.x, told.psfs.y)
    )
    assert np.count_nonzero(told.score < -5) > 20
    found = find_candidates(told, FWHM)
    assert len(found) == 1
    assert found.peaks[0] > 1
    # A source on the ring that stands out by itself is not lost.
    both = told.score + subtracted(light_of([Source(107.0, 80.0, 6e3)], SHAPE), None).score
    assert len(find_candidates(replace(told, score=both), FWHM)) == 2


def test_flags_are_those_within_one_width():
    flags = np.zeros(SHAPE, np.uint16)
    flags[80, 83] = Flag.COSMIC_RAY
    flags[80, 86] = Flag.BAD
    told = subtracted(light_of([Source(80.0, 80.0, 6000.0)], SHAPE), 8, flags=flags)
    assert find_candidates(told, FWHM).flags.tolist() == [int(Flag.COSMIC_RAY)]


@pytest.mark.parametrize("place", [(0.2, 0.3), (199.4, 80.0), (60.0, 159.0)])
def test_a_peak_at_the_border_is_found(place):
    told = subtracted(light_of([Source(*place, 9000.0)], SHAPE), 9)
    found = find_candidates(told, FWHM)
    assert np.hypot(found.x[0] - place[0], found.y[0] - place[1]) < 1.5
    assert np.isfinite(found.flux[0])


def test_a_peak_beside_a_hole_stays_on_its_pixel():
    told = subtracted(light_of([Source(80.0, 80.0, 9000.0)], SHAPE), 10)
    told.score[80, 81:84] = told.flux[80, 81:84] = 0.0
    found = find_candidates(told, FWHM)
    assert (found.x[0], found.y[0]) == (round(found.x[0]), round(found.y[0]))


def test_sign_is_all_that_changes_when_the_images_change_places():
    sources = [*on_a_net(SHAPE, 40, 3000.0, 11), Source(83.0, 84.0, -3000.0)]
    told = subtracted(light_of(sources, SHAPE), 12)
    other = replace(told, score=-told.score, flux=-told.flux)
    found, back = find_candidates(told, FWHM), find_candidates(other, FWHM)
    for name, sign in (("x", 1), ("y", 1), ("score", -1), ("flux", -1), ("opposite", -1)):
        np.testing.assert_allclose(getattr(found, name), sign * getattr(back, name), rtol=1e-6)


def test_equal_pixels_give_one_peak():
    told = subtracted(np.zeros(SHAPE), None)
    told.score[50:52, 60:62] = 8.0
    assert len(find_candidates(told, FWHM)) == 1


@pytest.mark.parametrize("wrong", [{"fwhm": 0.0}, {"fwhm": np.nan}, {"threshold": -1.0}])
def test_widths_and_thresholds_are_positive(wrong):
    told = subtracted(np.zeros((32, 32)), None)
    with pytest.raises(InvalidInput) as caught:
        find_candidates(told, **({"fwhm": FWHM} | wrong))
    assert caught.value.field in wrong


def test_some_can_be_selected():
    sources = on_a_net(SHAPE, 40, 3000.0, 13)
    found = find_candidates(subtracted(light_of(sources, SHAPE), 14), FWHM)
    some = found.select(found.x > 100)
    assert isinstance(some, Candidates)
    assert 0 < len(some) < len(found)
    assert some.flux.tolist() == found.flux[found.x > 100].tolist()
