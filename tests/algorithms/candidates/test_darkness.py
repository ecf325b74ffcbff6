"""What the image without the source shows at candidates."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import SIGMA, Source, light_of, measured, on_a_net, subtracted, unit_error

from firstlight.algorithms.candidates.cuts import apply_cuts
from firstlight.algorithms.flags import Flag

SHAPE = (640, 640)
DARKER = "darker"


def pair(new, reference, places, score, **more):
    """Measures of places in two images with noise of their own, of one sigma together."""
    random = np.random.default_rng(more.pop("seed", 1))
    noise = random.normal(0, SIGMA / np.sqrt(2), (2, *SHAPE))
    images = [
        (light + each).astype(np.float32)
        for light, each in zip((new, reference), noise, strict=True)
    ]
    told = subtracted(images[0] - images[1], None, **more)
    return measured(told, places, score, images=images)


@pytest.fixture(scope="module")
def net():
    return on_a_net(SHAPE, 45, 7 * unit_error(), 3)


def columns(sources):
    return np.array([s.x for s in sources]), np.array([s.y for s in sources])


def told_dark(measures):
    return np.array([any(DARKER in why for why in one) for one in apply_cuts(measures).reasons])


@pytest.mark.parametrize("sign", [1, -1])
def test_empty_sky_is_as_dark_as_its_noise(net, sign):
    x, y = columns(net)
    images = (light_of(net, SHAPE), np.zeros(SHAPE))[::sign]
    measures = pair(*images, (x, y), np.full(len(x), 7.0 * sign))
    assert np.std(measures.below_sky) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(measures.below_sky)) < 0.3
    assert np.count_nonzero(told_dark(measures)) <= 2


@pytest.mark.parametrize("sign", [1, -1])
def test_a_hole_in_one_image_is_nothing_that_came_or_went(net, sign):
    """Without a counterpart: the difference is that of a source, and neither image shows one."""
    x, y = columns(net)
    hole = -light_of(net, SHAPE)
    images = (np.zeros(SHAPE), hole)[::sign]
    measures = pair(*images, (x, y), np.full(len(x), 7.0 * sign))
    assert np.median(measures.below_sky) > 7
    assert told_dark(measures).all()


def test_what_faded_on_a_galaxy_is_light_still(net):
    x, y = columns(net)
    hosts = light_of([Source(s.x + 2, s.y, 9 * s.flux) for s in net], SHAPE, fwhm=8.0)
    measures = pair(hosts, hosts + light_of(net, SHAPE), (x, y), np.full(len(x), -7.0))
    assert measures.below_sky.max() < 0
    assert not told_dark(measures).any()


def test_neighbours_do_not_darken_a_place(net):
    x, y = columns(net)
    random = np.random.default_rng(5)
    count = 2500
    places, flux = random.uniform(0, SHAPE[0], (2, count)), 10 ** random.uniform(2.5, 5, count)
    crowd = light_of([Source(*p, f) for *p, f in zip(*places, flux, strict=True)], SHAPE)
    measures = pair(crowd + light_of(net, SHAPE), crowd, (x, y), np.full(len(x), 7.0))
    assert np.count_nonzero(told_dark(measures)) <= 1


def test_a_sky_that_was_taken_too_high_makes_nothing_dark(net):
    x, y = columns(net)
    level = np.full(SHAPE, -4 * SIGMA)
    measures = pair(level + light_of(net, SHAPE), level, (x, y), np.full(len(x), 7.0))
    assert np.count_nonzero(told_dark(measures)) <= 2


def test_where_nothing_is_known_nothing_is_dark():
    flags = np.full(SHAPE, Flag.BAD, np.uint16)
    nothing = np.zeros(SHAPE)
    measures = pair(nothing, nothing, ([300.0], [300.0]), [7.0], flags=flags)
    assert measures.below_sky.tolist() == [0.0]


def test_what_lies_on_the_other_side_of_the_edge_is_not_taken_for_sky():
    light = light_of([Source(4.0, 300.0, 7 * unit_error())], SHAPE)
    measures = pair(light, np.zeros(SHAPE), ([4.0], [300.0]), [7.0])
    assert abs(measures.below_sky[0]) < 3.5


@pytest.mark.parametrize("sign", [1, -1])
def test_what_stands_out_without_the_dark_place_is_a_source(sign):
    """Places dark by five sigma: no peak of noise has 20 sigma by them, and one of 8 may."""
    bright, faint = (on_a_net(SHAPE, 45, snr * unit_error(), 3) for snr in (16, 3))
    dark = -light_of(on_a_net(SHAPE, 45, 4 * unit_error(), 3), SHAPE)
    x, y = columns(bright)
    told = []
    for sources, score in ((bright, 20.0), (faint, 7.0)):
        images = (light_of(sources, SHAPE), dark)[::sign]
        told.append(told_dark(pair(*images, (x, y), np.full(len(x), score * sign))).mean())
    assert told[0] == 0
    assert told[1] > 0.9
