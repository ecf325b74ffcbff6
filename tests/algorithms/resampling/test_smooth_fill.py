from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.resampling.smooth_fill import smooth_fill


def plane_and_holes(shape, seed):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    rng = np.random.default_rng(seed)
    return (3.0 + 0.2 * x - 0.1 * y).astype(np.float32), rng.random(shape) < 0.2


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.integers(12, 40))
def test_a_slope_is_continued_through_inner_holes(seed, rows, columns):
    plane, holes = plane_and_holes((rows, columns), seed)
    holes[:4] = holes[-4:] = False
    holes[:, :4] = holes[:, -4:] = False
    filled = np.where(holes, np.float32(np.nan), plane)
    smooth_fill(filled, holes)
    np.testing.assert_allclose(filled, plane, atol=0.02)


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 1.0))
def test_everything_becomes_finite_and_good_pixels_stay(seed, rows, columns, share):
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(rows, columns)).astype(np.float32)
    holes = rng.random(plane.shape) < share
    filled = np.where(holes, np.float32(np.nan), plane)
    smooth_fill(filled, holes)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~holes], plane[~holes])


def test_a_bright_core_does_not_leave_faint_holes_unfinished():
    y, x = np.mgrid[:80, :80].astype(np.float64)
    sky = 0.05 * (x + y)
    image = sky + 1e6 * np.exp(-0.5 * ((x - 20) ** 2 + (y - 20) ** 2) / 4.0)
    holes = np.hypot(x - 20, y - 20) < 5
    holes |= (np.abs(x - 60) < 3) & (np.abs(y - 60) < 3)
    filled = image.astype(np.float32)
    smooth_fill(filled, holes)
    far = holes & (x > 40)
    np.testing.assert_allclose(filled[far], sky[far], atol=0.02)


def test_half_of_an_image_without_data_stays_within_what_was_seen():
    rng = np.random.default_rng(3)
    image = (100 + rng.normal(size=(120, 200))).astype(np.float32)
    holes = np.zeros(image.shape, dtype=np.bool_)
    holes[:, :150] = True
    image[holes] = np.nan
    smooth_fill(image, holes)
    assert np.abs(image - 100).max() < 15


def test_nothing_good_is_zero():
    plane = np.full((5, 7), np.nan, dtype=np.float32)
    smooth_fill(plane, np.isnan(plane))
    assert (plane == 0).all()
