"""Places and shapes of sources hardly wider than a pixel, at any part of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from injected_sky import moffat_star
from white_difference import POWER, Source, light_of, on_a_net, subtracted, unit_error

from firstlight.algorithms.candidates.find import find_candidates
from firstlight.algorithms.candidates.measures import measure_candidates
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.subtraction.between_pixels import POINTS, points_between

FWHM = 1.5
RADIUS = 14
SHAPE = (620, 620)
SNR = 100.0
LEAST = 0.73 * FWHM / SNR  # what the information of pixels allows, on average over their parts


class Stars:
    """The PSF of `white_difference` at any part of a pixel."""

    def stamps(self, x, y, radius=None):
        return np.stack(
            [
                moffat_star(i - np.rint(i), j - np.rint(j), FWHM, POWER, radius)
                for i, j in np.broadcast(np.atleast_1d(x), np.atleast_1d(y))
            ]
        )


@pytest.fixture(scope="module")
def scene():
    sources = on_a_net(SHAPE, 30, SNR * unit_error(FWHM), 5)
    told = subtracted(light_of(sources, SHAPE, FWHM), 6, FWHM)
    kernel = np.ones((1, 1), np.float32)
    points = points_between(Stars(), (300.0, 300.0), kernel, RADIUS)
    between = PsfGrid(points[None, None], told.psfs.x, told.psfs.y)
    return replace(told, between=between), sources


def apart(found, sources):
    """Distances along both axes to the nearest source, and which it is."""
    x, y = (np.array([getattr(s, axis) for s in sources]) for axis in "xy")
    which = np.hypot(found.x[:, None] - x, found.y[:, None] - y).argmin(axis=1)
    return np.stack([found.x - x[which], found.y - y[which]])


def test_places_are_as_good_as_the_pixels_allow(scene):
    told, sources = scene
    found = find_candidates(told, FWHM, threshold=SNR / 2)
    assert len(found) == len(sources)
    error = np.sqrt(np.mean(apart(found, sources) ** 2))
    assert error < 1.1 * LEAST
    smooth = find_candidates(replace(told, between=None), FWHM, threshold=SNR / 2)
    assert np.sqrt(np.mean(apart(smooth, sources) ** 2)) > 2 * LEAST


@pytest.mark.parametrize("points", [1, POINTS])
def test_only_their_own_psf_fits_them(scene, points):
    told, sources = scene
    found = find_candidates(told, FWHM, threshold=SNR / 2)
    places = found.x, found.y
    stamps = cut_candidates(told.difference, np.zeros(SHAPE, np.float32), told, places, 8)
    psfs = difference_psfs(told.psfs if points == 1 else told.between, *places)
    measures = measure_candidates(
        stamps, psfs, places, found.score, FWHM, psf_error=0.0, points=points
    )
    pulls = (measures.flux - SNR * unit_error(FWHM)) / measures.flux_error
    if points == 1:
        assert np.median(measures.chi2) > 2
        return
    assert np.median(measures.chi2) < 1.2
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
    off = np.hypot(measures.x - found.x, measures.y - found.y)
    assert off.max() < 0.2 * LEAST  # the place is where the fit is best already
    again = apart(replace(found, x=measures.x, y=measures.y), sources)
    assert np.std(again / np.sqrt([measures.xx, measures.yy])) == pytest.approx(1, abs=0.12)


def test_where_nothing_stands_out_nothing_is_fitted(scene):
    told, _ = scene
    nothing = replace(told, score=np.zeros(SHAPE, np.float32))
    assert len(find_candidates(nothing, FWHM)) == 0


def test_what_stands_beyond_the_edge_is_measured_inside(scene):
    """The fit leads out of the image, where nothing was measured."""
    told, _ = scene
    flux = SNR * unit_error(FWHM)
    beyond = [Source(-0.8, 100.0, flux), Source(300.0, SHAPE[0] - 0.2, flux)]
    at_edge = replace(subtracted(light_of(beyond, SHAPE, FWHM), 6, FWHM), between=told.between)
    found = find_candidates(at_edge, FWHM, threshold=SNR / 4)
    assert len(found) == 2
    assert np.isfinite(found.flux).all()
    assert np.isfinite(found.flux_error).all()
    assert found.x.min() > -0.5
    assert found.y.max() < SHAPE[0] - 0.5
