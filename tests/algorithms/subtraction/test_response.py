"""Fluxes of stars hardly wider than a pixel, whose shape changes over the image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.resampling.image_pair import AlignedImage, psf_grid
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.algorithms.subtraction.forced import forced_fluxes
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.response import PhaseResponse
from firstlight.algorithms.subtraction.zogy import zogy

SHAPE = (480, 640)
RADIUS = 8
SKY, DEEP = 400.0, 100.0
LIGHT = 40_000.0


def model(fwhm: float, change: float) -> PsfModel:
    """A Moffat as a pixel sees it, whose width changes by so much from border to border."""
    power, (ny, nx) = 4.0, SHAPE
    core = 0.5 * fwhm / np.sqrt(2 ** (1 / power) - 1)
    bends = np.zeros((3, 3))
    bends[0, 1:] = change / 2.0
    bends[1, 0] = 0.15
    found = PsfModel(
        profile=(core, 0.0, 0.0, power),
        bends=bends,
        nets=np.zeros((1, 9, 9)),
        spacing=1.0,
        middle=((nx - 1) / 2, (ny - 1) / 2),
        reach=(nx / 2, ny / 2),
        totals=np.ones(1),
        radius=RADIUS,
        stars=100,
    )
    total = float(found.stamps(nx / 2, ny / 2).sum())
    return replace(found, totals=np.array([total]))


def places() -> tuple[np.ndarray, np.ndarray]:
    """Far from each other, each in another part of a pixel."""
    x, y = np.meshgrid(np.arange(30.0, 610.0, 36.0), np.arange(30.0, 450.0, 36.0))
    part = np.random.default_rng(7).uniform(-0.5, 0.5, (2, x.size))
    return x.ravel() + part[0], y.ravel() + part[1]


def images(
    psf: PsfModel, sources: tuple[np.ndarray, np.ndarray], rng: np.random.Generator | None = None
) -> tuple[AlignedImage, AlignedImage]:
    """Sources in front of nothing, and a deeper reference of a broader PSF."""
    light = np.zeros(SHAPE, np.float32)
    psf.add_to(light, *sources, np.full(len(sources[0]), LIGHT), np.full(len(sources[0]), RADIUS))
    empty = np.zeros(SHAPE, np.float32)
    if rng is not None:
        light += rng.normal(0.0, np.sqrt(SKY), SHAPE).astype(np.float32)
        empty += rng.normal(0.0, np.sqrt(DEEP), SHAPE).astype(np.float32)
    flags, other = np.zeros(SHAPE, np.uint16), model(2.2, 0.1)
    new = AlignedImage(
        light, np.full(SHAPE, SKY, np.float32), flags, psf_grid(psf, SHAPE, None, RADIUS), psf
    )
    spread = np.full(SHAPE, DEEP, np.float32)
    return new, AlignedImage(empty, spread, flags, psf_grid(other, SHAPE, None, RADIUS))


def subtracted(new: AlignedImage, reference: AlignedImage):
    ratio, residual = FluxRatio((1.0,), 0.0, SHAPE, 100), ResidualNoise(0.0, 0.0)
    return zogy(new, reference, ratio=ratio, residual=residual)


@pytest.fixture(scope="module")
def sharp():
    return images(model(1.7, 0.15), places())


def test_fluxes_between_the_pixels_and_between_the_middles_of_tiles_are_right(sharp):
    flux, _ = subtracted(*sharp).flux_at(*places())
    assert abs(flux.mean() / LIGHT - 1.0) < 0.002
    assert (
        flux.std() / LIGHT < 0.006
    )  # parts of a pixel matter a little more where stars are sharper


def test_without_the_psf_between_the_pixels_they_are_not(sharp):
    new, reference = sharp
    told = subtracted(replace(new, model=None), reference)
    assert told.phases is None
    flux, _ = told.flux_at(*places())
    assert flux.mean() / LIGHT < 0.98
    assert flux.std() / LIGHT > 0.015


def test_of_wide_stars_hardly_anything_is_lost():
    x, y = (place[::5] for place in places())
    told = subtracted(*images(model(4.0, 0.0), (x, y)))
    assert told.phases is not None
    np.testing.assert_allclose(told.phases.light, 1.0, atol=5e-4)
    np.testing.assert_allclose(told.phases.noise, 1.0, atol=1e-3)


def test_errors_between_the_pixels_are_those_of_the_noise():
    rng = np.random.default_rng(3)
    nowhere = np.zeros(0), np.zeros(0)
    told = subtracted(*images(model(1.7, 0.0), nowhere, rng))
    x, y = np.meshgrid(np.arange(20, 620, 2.0), np.arange(20, 460, 2.0))
    for part in (0.0, 0.25, 0.5):
        at = x.ravel() + part, y.ravel() + part
        flux, error = told.flux_at(*at)
        assert np.std(flux / error) == pytest.approx(1.0, abs=0.015)
        np.testing.assert_allclose(told.score_at(*at), flux / error, rtol=0.02, atol=0.02)


def test_forced_fluxes_from_the_maps_are_the_same(sharp):
    told = subtracted(*sharp)
    kept = PhaseResponse.from_lists(json.loads(json.dumps(told.phases.lists())))
    found = forced_fluxes(told.score, told.flux_error, told.flags, *places(), kept)
    flux, error = told.flux_at(*places())
    np.testing.assert_allclose(found.flux, flux, rtol=1e-4)
    np.testing.assert_allclose(found.error, error, rtol=1e-4)


def test_parts_of_a_pixel_come_again_with_every_pixel():
    rng = np.random.default_rng(1)
    phases = PhaseResponse(*rng.uniform(0.9, 1.1, (2, 5, 5)))
    part = np.arange(-2, 3) / 5.0
    x, y = (grid.ravel() for grid in np.meshgrid(part, part))
    for plane, told in zip((phases.light, phases.noise), phases.at(x + 17, y + 4), strict=True):
        np.testing.assert_allclose(told, plane.ravel(), rtol=1e-9)


def test_sharp_stars_between_the_pixels_are_no_rays():
    rng = np.random.default_rng(5)
    x, y = (np.rint(place) + 0.5 + rng.uniform(-0.1, 0.1, place.size) for place in places())
    psf = model(1.7, 0.0)
    told = subtracted(*images(psf, (x, y), rng))
    struck = (told.flags & np.uint16(Flag.COSMIC_RAY)) != 0
    assert np.count_nonzero(struck) < 10
    assert np.isfinite(told.flux_at(x, y)[1]).all()
