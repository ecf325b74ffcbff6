"""What stars leave behind is not laid on light that is wider than they are, if they are sharp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from test_response import DEEP, RADIUS, SHAPE, SKY, model

from firstlight.algorithms.resampling.align import align
from firstlight.algorithms.resampling.coordinate_map import sample_map
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid, psf_grid
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.algorithms.subtraction.kernel_match import kernel_match
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.sharp_light import sharp_light
from firstlight.algorithms.subtraction.zogy import zogy

STAR, GALAXY, TRANSIENT = 150_000.0, 100_000.0, 1500.0
WIDTH = 3.0  # of galaxies, pixels, one sigma


@dataclass(frozen=True)
class Sky:
    """Two images of stars and smooth galaxies, and places where something came; x and y each."""

    new: AlignedImage
    reference: AlignedImage
    stars: np.ndarray
    galaxies: np.ndarray
    on_galaxies: np.ndarray
    by_stars: np.ndarray


def turned(x, y):
    """Places in the reference, whose pixels lie otherwise under each source."""
    return x + 0.37 + 0.004 * (y - 240.0), y - 0.41 - 0.004 * (x - 320.0)


def drawn(psf, places, flux):
    light = np.zeros(SHAPE, np.float32)
    psf.add_to(light, *places, np.broadcast_to(flux, len(places[0])), np.full(len(places[0]), 8))
    return light


def scene(fwhm: float, seed: int) -> Sky:
    rng, psf = np.random.default_rng(seed), model(fwhm, 0.0)
    x, y = (
        grid.ravel() for grid in np.meshgrid(np.arange(32.0, 620, 32), np.arange(32.0, 460, 32))
    )
    cells = np.stack([x, y]) + rng.uniform(-0.5, 0.5, (2, x.size))
    even = np.arange(x.size) % 2 == 0
    stars, galaxies = cells[:, even], cells[:, ~even]
    net = np.stack(np.meshgrid(*[np.arange(-9.0, 9.1, 0.75)] * 2)).reshape(2, -1)
    weight = np.exp(-0.5 * np.square(net / WIDTH).sum(axis=0))
    points = (galaxies[:, :, None] + net[:, None, :]).reshape(2, -1)
    flux = np.tile(GALAXY * weight / weight.sum(), galaxies.shape[1])
    on_galaxies = galaxies + rng.normal(0.0, 1.5, galaxies.shape)
    by_stars = stars + rng.normal(0.0, 1.0, stars.shape)
    came = np.hstack([on_galaxies, by_stars[:, ::4]])
    planes = []
    for where, sky in ((lambda *at: at, SKY), (turned, DEEP)):
        light = drawn(psf, where(*stars), STAR) + drawn(psf, where(*points), flux)
        if sky == SKY:
            light += drawn(psf, came, TRANSIENT)
        spread = (light * (sky / SKY) + sky).astype(np.float32)
        noise = np.sqrt(spread) * rng.standard_normal(SHAPE)
        planes.append(((light + noise).astype(np.float32), spread, np.zeros(SHAPE, np.uint16)))
    new = AlignedImage(*planes[0], psf_grid(psf, SHAPE, None, RADIUS), psf)
    reference = align(planes[1], psf, sample_map(turned, SHAPE), radius=RADIUS)
    return Sky(new, reference, stars, galaxies, on_galaxies, by_stars)


def pulls(told, places, truth):
    flux, error = told.flux_at(*places)
    return (flux - truth) / error


def kinds(fwhm: float, seed: int):
    """Pulls of what came on galaxies, and of what came or did not by stars; and the difference."""
    sky = scene(fwhm, seed)
    told = zogy(sky.new, sky.reference, ratio=FluxRatio((1.0,), 0.0, SHAPE, 100))
    came = np.zeros(sky.by_stars.shape[1])
    came[::4] = TRANSIENT
    return pulls(told, sky.on_galaxies, TRANSIENT), pulls(told, sky.by_stars, came), told


def test_errors_on_galaxies_and_by_sharp_stars_are_those_that_are_made():
    on_galaxies, by_stars, told = kinds(1.8, 11)
    assert told.residual.relative > 0.01
    assert on_galaxies.std() == pytest.approx(1.0, abs=0.15)  # 0.4 with the share of stars
    assert 0.55 < by_stars.std() < 1.2


def test_errors_on_galaxies_and_by_wide_stars_are_those_that_are_made():
    on_galaxies, by_stars, told = kinds(4.0, 12)
    assert told.residual.relative < 0.01
    assert 0.75 < on_galaxies.std() < 1.2
    assert 0.65 < by_stars.std() < 1.2


def laid(sky: Sky, method) -> tuple[float, float]:
    """Light of a star and of a galaxy of which a share is counted as an error."""
    share = 0.05
    variances = [
        [np.square(told.flux_at(*at)[1]) for at in (sky.stars, sky.galaxies)]
        for told in (
            method(sky.new, sky.reference, residual=ResidualNoise(0.0, each))
            for each in (0.0, share)
        )
    ]
    by_star, on_galaxy = (
        np.sqrt(max(float(np.median(after - before)), 0.0)) / share
        for before, after in zip(*variances, strict=True)
    )
    return by_star, on_galaxy


# In front of such galaxies the filter sees 0.13 of their light, and 0.45 with wide stars.
@pytest.mark.parametrize(
    ("fwhm", "method", "least", "most"),
    [(1.8, zogy, 0.0, 0.04), (4.0, zogy, 0.3, 0.6), (1.8, kernel_match, 0.1, 0.2)],
)
def test_shares_of_stars_are_laid_on_wider_light_unless_it_is_taken_away(fwhm, method, least, most):
    by_star, on_galaxy = laid(scene(fwhm, 13), method)
    assert by_star == pytest.approx(STAR, rel=0.1)
    assert least <= on_galaxy / GALAXY < most


def blob(width: float, place: tuple[float, float] = (0.0, 0.0), half: int = 20) -> np.ndarray:
    steps = np.arange(-half, half + 1.0)
    away = np.square(steps - place[0]) + np.square(steps[:, None] - place[1])
    return (1e5 * np.exp(-0.5 * away / width**2)).astype(np.float32)


STAMPS = PsfGrid(blob(0.8, half=8)[None, None], np.zeros(1), np.zeros(1))
STARS = 0.8 * np.sqrt(2)  # width of the map of a star


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.3, -0.2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_all_of_a_star_is_sharp(place, sign):
    star = sign * blob(STARS, place)
    np.testing.assert_allclose(sharp_light(star, STAMPS), star, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_of_wider_light_the_fourth_power_of_its_width_is_sharp(times):
    light = blob(times * STARS, (0.2, 0.3))
    share = sharp_light(light, STAMPS)[20, 20] / light[20, 20]
    assert 1 / times**4 < share < 2.2 / times**4


def test_where_nothing_is_nothing_is_sharp():
    light = np.zeros((30, 40), np.float32)
    light[8, 12] = 1000.0
    sharp = sharp_light(light, STAMPS)
    np.testing.assert_allclose(sharp, light)
