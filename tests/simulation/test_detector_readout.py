"""Noise, bias, overscan, saturation and cosmic rays of one section."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.simulation import DetectorSettings, NightSettings
from firstlight.simulation.detector import Detector, Frame, FrameKind

FRAME = Frame(FrameKind.SCIENCE, 3)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_settings(
        NightSettings(seed=3, detector=DetectorSettings(rows=512, columns=512)), "B"
    )


def electrons(detector, charge, frame=FRAME):
    """Read out a level and undo what is known: bias, pattern and gain."""
    held = np.full(detector.flat.shape, charge, np.float32)
    raw = detector.read_out(held, frame)[:, : held.shape[1]]
    return (raw - detector.bias(frame)[:, None] - detector.bias_pattern) * detector.gain


@pytest.mark.parametrize("charge", [0.0, 3.0, 40.0, 300.0, 20000.0])
def test_mean_variance_and_skewness_are_those_of_photons(detector, charge):
    found = electrons(detector, charge)
    n = found.size
    variance = charge + detector.read_noise**2 + detector.gain**2 / 12
    assert found.mean() == pytest.approx(charge, abs=5 * np.sqrt(variance / n))
    assert found.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))
    skewness = ((found - found.mean()) ** 3).mean() / found.var() ** 1.5
    assert skewness == pytest.approx(charge / variance**1.5, abs=5 * np.sqrt(6 / n))


def test_pixels_and_frames_are_independent(detector):
    pulls = []
    for number in (3, 4):
        found = electrons(detector, 300.0, Frame(FrameKind.SCIENCE, number))
        pulls.append((found - found.mean()) / found.std())
    first, second = pulls
    for a, b in ((first[:, 1:], first[:, :-1]), (first[1:], first[:-1]), (first, second)):
        assert (a * b).mean() == pytest.approx(0, abs=5 / np.sqrt(a.size))


def test_overscan_follows_the_rows(detector):
    raw = detector.read_out(np.full(detector.flat.shape, 500, np.float32), FRAME)
    over = raw[:, detector.flat.shape[1] :].astype(float)
    bias = detector.bias(FRAME)
    sigma = np.hypot(detector.read_noise / detector.gain, np.sqrt(1 / 12))
    pulls = (over.mean(axis=1) - bias) / (sigma / np.sqrt(over.shape[1]))
    assert pulls.mean() == pytest.approx(0, abs=0.25)
    assert pulls.std() == pytest.approx(1, abs=0.15)
    assert (over - bias[:, None]).std() == pytest.approx(sigma, rel=0.03)
    assert bias.std() == pytest.approx(detector.bias_drift, rel=0.5)
    assert np.abs(np.diff(bias)).max() < 0.2
    assert np.abs(detector.bias(FRAME) - detector.bias(Frame(FrameKind.BIAS, 0))).max() > 0.1


def test_maps_have_the_properties_that_were_set(detector):
    of = DetectorSettings()
    assert np.median(detector.flat) == pytest.approx(1, abs=1e-6)
    assert detector.dark.min() > 0
    assert np.median(detector.dark) == pytest.approx(of.dark_current, rel=0.02)
    n = detector.dark.size
    assert detector.hot_pixels(1.0).sum() == pytest.approx(of.hot_fraction * n, rel=0.3)
    assert detector.dead_pixels().sum() == pytest.approx(of.dead_fraction * n, abs=8)
    across = (detector.flat[:, 1:] / detector.flat[:, :-1])[20:-20]
    spread = 1.4826 * np.median(np.abs(across - np.median(across)))
    assert spread == pytest.approx(np.sqrt(2) * of.pixel_response, rel=0.05)
    # Section B's far corners lie far from the axis, its near edge beside it.
    near, far = np.median(detector.flat[200:300, :20]), np.median(detector.flat[:20, -20:])
    assert far / near == pytest.approx(1 - of.vignetting, abs=0.02)


def test_full_wells_clip_and_bleed_along_the_column(detector):
    charge = np.zeros(detector.flat.shape, np.float32)
    charge[256, 100] = 5.5 * detector.full_well
    charge[0, 7] = 3 * detector.full_well
    held = detector.held(charge)
    assert held.max() == pytest.approx(detector.full_well)
    assert held[:, 100].sum() == pytest.approx(charge[:, 100].sum(), rel=1e-6)
    assert np.flatnonzero(held[:, 100]).tolist() == [253, 254, 255, 256, 257, 258, 259]
    # At the edge one half is lost.
    assert held[:, 7].sum() == pytest.approx(2 * detector.full_well, rel=1e-6)
    raw = detector.read_out(held, FRAME)
    assert raw.max() == detector.saturation
    assert (raw[254:259, 100] == detector.saturation).all()
    assert (held[:, 101] == 0).all()


def test_cosmic_rays_are_short_bright_tracks(detector):
    image = detector.cosmic_rays(FRAME, 600.0)
    expected = detector.cosmic_ray_rate * 600
    hit = image > 0
    assert hit.sum() / expected == pytest.approx(8, abs=4)
    assert np.median(image[hit]) > 200
    assert (image == detector.cosmic_rays(FRAME, 600.0)).all()
    assert (image != detector.cosmic_rays(Frame(FrameKind.DARK, 3), 600.0)).any()
    assert detector.cosmic_rays(FRAME, 0.0).sum() == 0
