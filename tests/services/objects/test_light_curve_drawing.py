"""Cutouts and pictures of light curves, from arrays."""

import io
import re

import numpy as np
import pytest
from PIL import Image as Picture

from firstlight.services.objects.cutouts import SIDE, CutoutMissing, draw_cutout
from firstlight.services.objects.light_curve_picture import draw_light_curve
from firstlight.services.objects.light_curve_plot import Curve


def pixels(png):
    """Brightness of each image pixel, row 0 at the bottom."""
    picture = np.asarray(Picture.open(io.BytesIO(png)).convert("L"), int)[::-1]
    step = picture.shape[0] // SIDE
    return picture[step // 2 :: step, step // 2 :: step]


@pytest.mark.parametrize(("x", "y"), [(60, 80), (3, 5), (118, 2), (60.4, 79.6)])
def test_the_object_is_in_the_middle_of_its_cutout(x, y):
    rng = np.random.default_rng(1)
    data = rng.normal(100, 3, (100, 120)).astype(np.float32)
    data[round(y), round(x)] = 50_000
    shown = pixels(draw_cutout(data, x, y))
    assert shown.shape == (SIDE, SIDE)
    assert np.unravel_index(np.argmax(shown), shown.shape) == (SIDE // 2, SIDE // 2)


def test_what_is_beyond_the_edge_is_black():
    shown = pixels(draw_cutout(np.full((100, 100), 7.0, np.float32), 0, 0))
    assert (shown[: SIDE // 2 - 10, : SIDE // 2 - 10] == 0).all()


@pytest.mark.parametrize(("x", "y"), [(-100, 5), (5, 400), (1e6, 1e6)])
def test_an_object_outside_has_no_cutout(x, y):
    with pytest.raises(CutoutMissing):
        draw_cutout(np.zeros((100, 120), np.float32), x, y)


def curve(n, **numbers):
    some = {"mjd": np.linspace(59_000, 59_100, n), **numbers}
    return Curve(
        ids=np.arange(n), numbers=some, series=np.zeros(n, np.uint16),
        names=[{"filter": "r", "instrument": "", "origin": "", "system": ""}],
        pictured=np.zeros(n, bool),
    )  # fmt: skip


def heights(svg):
    path = re.search(r'<path d="((?:M\d+ -?\d+h0)+)"', svg)[1]
    return [int(each) for each in re.findall(r"M\d+ (-?\d+)h0", path)]


def test_bright_is_up_in_magnitudes_and_in_fluxes():
    rising = np.linspace(18.0, 15.0, 20)
    up = heights(draw_light_curve(curve(20, mag=rising)))
    assert up == sorted(up, reverse=True)
    up = heights(draw_light_curve(curve(20, flux=np.linspace(10.0, 20.0, 20))))
    assert up == sorted(up, reverse=True)


def test_many_points_make_a_small_picture():
    rng = np.random.default_rng(1)
    svg = draw_light_curve(curve(50_000, mag=rng.normal(18, 0.1, 50_000)))
    assert len(heights(svg)) < 50_000
    assert len(svg) < 900_000


@pytest.mark.parametrize("numbers", [{}, {"mag": np.full(3, np.nan)}])
def test_nothing_to_draw(numbers):
    assert draw_light_curve(curve(3, **numbers)).endswith("</svg>")


def test_one_point_and_equal_points_are_drawn():
    assert len(heights(draw_light_curve(curve(1, mag=np.array([15.0]))))) == 1
    assert heights(draw_light_curve(curve(5, flux=np.full(5, 3.0))))
