"""Calibration, cosmic rays and source extraction beside their peers, on injected truth.

Every tool sees the same images in one process on one thread. The CPU ratio (peer over firstlight)
is the figure; seconds depend on the machine. Run with::

    OMP_NUM_THREADS=1 python benchmarks/pixel_stages.py --seeds 5 --height 2048 --width 4096

Peers: astroscrappy and ccdproc (BSD-3, ``pip install astroscrappy ccdproc``) and sep.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass

import astropy.units as u
import astroscrappy
import ccdproc
import numpy as np
import sep
from astropy.nddata import CCDData
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import cKDTree

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.calibrate import Detector, Masters, calibrate
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.algorithms.sources.detect import find_sources

GAIN, READ_NOISE, SKY, FWHM, BETA = 4.0, 7.0, 2000.0, 4.0, 3.5
RADII = np.arange(1, 9) * 1.5


@dataclass
class Scene:
    raw: np.ndarray
    bias: np.ndarray
    flat: np.ndarray
    truth: np.ndarray
    charge: np.ndarray
    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray


def star_stamps(fwhm, beta, half=16, phases=8, steps=4):
    """Pixel-integrated Moffat profiles at `phases` x `phases` offsets."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    fine = (np.arange(steps) + 0.5) / steps - 0.5
    grid = (np.arange(-half, half + 1)[:, None] + fine).ravel()
    offsets = (np.arange(phases) + 0.5) / phases - 0.5
    size = 2 * half + 1
    stamps = np.empty((phases, phases, size, size))
    for j, dy in enumerate(offsets):
        for i, dx in enumerate(offsets):
            r2 = (grid[None, :] - dx) ** 2 + (grid[:, None] - dy) ** 2
            profile = (1 + r2 / alpha**2) ** -beta * (beta - 1) / np.pi / alpha**2
            stamps[j, i] = profile.reshape(size, steps, size, steps).mean((1, 3))
    return stamps, offsets


def cosmic_rays(rng, shape, count):
    charge = np.zeros(shape)
    for _ in range(count):
        length, angle = rng.exponential(5) + 0.5, rng.uniform(0, 2 * np.pi)
        steps = max(int(4 * length), 1)
        along = (np.arange(steps) + 0.5) / steps * length
        y = np.rint(rng.uniform(0, shape[0]) + along * np.sin(angle)).astype(int)
        x = np.rint(rng.uniform(0, shape[1]) + along * np.cos(angle)).astype(int)
        each = 10 ** rng.uniform(2.5, 4.0) * length / steps * rng.gamma(4, 0.25, steps)
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        np.add.at(charge, (y[inside], x[inside]), each[inside])
    return gaussian_filter(charge, 0.35)


def make_scene(seed, shape):
    rng = np.random.default_rng(seed)
    ny, nx = shape
    count = int(4000 * ny * nx / (2048 * 4096))
    half, phases = 16, 8
    stamps, offsets = star_stamps(FWHM, BETA, half, phases)
    pixel_noise = SKY + READ_NOISE**2
    area = 1 / (stamps[0, 0] ** 2).sum()
    snr = 10 ** rng.uniform(np.log10(3), np.log10(300), count)
    flux = (snr**2 + np.sqrt(snr**4 + 4 * snr**2 * area * pixel_noise)) / 2
    jx, jy = rng.integers(20, nx - 20, count), rng.integers(20, ny - 20, count)
    px, py = rng.integers(0, phases, (2, count))
    truth = np.full(shape, SKY)
    for x, y, i, j, f in zip(jx, jy, px, py, flux, strict=True):
        truth[y - half : y + half + 1, x - half : x + half + 1] += f * stamps[j, i]
    charge = cosmic_rays(rng, shape, int(1500 * ny * nx / (2048 * 4096)))
    yy, xx = np.indices(shape, dtype=np.float32)
    flat = (1 - 0.15 * ((xx / nx - 0.5) ** 2 + (yy / ny - 0.5) ** 2)).astype(np.float32)
    flat /= flat.mean()  # ccdproc divides by the mean
    bias = rng.normal(500, 3, shape).astype(np.float32)
    electrons = rng.poisson(truth * flat + charge) + rng.normal(0, READ_NOISE, shape)
    raw = np.rint(electrons / GAIN + bias).clip(0, 65535).astype(np.uint16)
    return Scene(raw, bias, flat, truth, charge, jx + offsets[px], jy + offsets[py], snr)


class Table:
    """Collects CPU seconds and quality of every tool in every stage."""

    def __init__(self):
        self.seconds = defaultdict(list)
        self.quality = defaultdict(list)

    def time(self, stage, tool, function, repeat=1):
        times = []
        for _ in range(repeat):
            start = time.process_time()
            result = function()
            times.append(time.process_time() - start)
        self.seconds[stage, tool].append(min(times))
        return result

    def show(self):
        print(f"{'stage':12s} {'tool':28s} {'CPU s':>8s} {'ratio':>7s} {'range':>13s}  quality")
        for (stage, tool), seconds in self.seconds.items():
            ours = np.array(self.seconds[stage, "firstlight"])
            ratio = np.array(seconds) / ours
            figures = {
                key: np.mean([entry[key] for entry in self.quality[stage, tool]])
                for key in (self.quality[stage, tool] or [{}])[0]
            }
            text = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(
                f"{stage:12s} {tool:28s} {np.median(seconds):8.3f} {np.median(ratio):7.1f} "
                f"{ratio.min():6.1f}-{ratio.max():.1f}  {text}"
            )


def run_calibration(scene, table):
    detector, masters = Detector(GAIN, READ_NOISE), Masters(bias=scene.bias, flat=scene.flat)
    image = table.time(
        "calibrate", "firstlight", lambda: calibrate(scene.raw, detector, masters), 3
    )
    quiet = scene.charge == 0
    # The scene's raws are whole ADU, which read noise measured on biases contains.
    chi2 = (image.data - scene.truth)[quiet] ** 2 / (image.variance[quiet] + GAIN**2 / 12)
    table.quality["calibrate", "firstlight"].append({"chi2/px": chi2.mean()})
    ccdproc_calibration(scene, table)
    return image


def ccdproc_calibration(scene, table):
    flat = CCDData(scene.flat, unit="")

    def calibrated():
        raw = CCDData(scene.raw.astype(np.float32), unit="electron")
        raw.data = (raw.data - scene.bias) * np.float32(GAIN)
        raw = ccdproc.create_deviation(raw, readnoise=READ_NOISE * u.electron, disregard_nan=True)
        return ccdproc.flat_correct(raw, flat)

    result = table.time("calibrate", "ccdproc with uncertainty", calibrated)
    quiet = scene.charge == 0
    variance = result.uncertainty.array**2 + GAIN**2 / 12
    chi2 = (result.data - scene.truth)[quiet] ** 2 / variance[quiet]
    table.quality["calibrate", "ccdproc with uncertainty"].append({"chi2/px": np.nanmean(chi2)})


def cosmic_quality(scene, mask):
    sigma = np.sqrt(scene.truth + READ_NOISE**2)
    names, _ = label(scene.charge > 2 * sigma, np.ones((3, 3)))
    wanted = np.unique(names[scene.charge > 10 * sigma])
    x, y = np.rint(scene.x).astype(int), np.rint(scene.y).astype(int)
    cores = mask[y, x] & (scene.charge[y, x] < 2 * sigma[y, x])
    return {
        "pix>5s": mask[scene.charge > 5 * sigma].mean(),
        "obj>10s": np.isin(wanted, np.unique(names[mask])).mean(),
        "false px": np.count_nonzero(mask & (scene.charge < 2 * sigma)),
        "cores": np.count_nonzero(cores),
    }


def run_cosmic_rays(scene, image, table):
    found = table.time(
        "cosmic rays",
        "firstlight",
        lambda: find_cosmic_rays(image.data, image.variance, image.flags, fwhm=FWHM),
        3,
    )
    table.quality["cosmic rays", "firstlight"].append(cosmic_quality(scene, found.mask))
    mask, _ = table.time(
        "cosmic rays",
        "astroscrappy default",
        lambda: astroscrappy.detect_cosmics(
            image.data, gain=1.0, readnoise=READ_NOISE, satlevel=1e9
        ),
    )
    table.quality["cosmic rays", "astroscrappy default"].append(cosmic_quality(scene, mask))


def detection_quality(scene, x, y):
    tree = cKDTree(np.c_[x, y])
    distance, _ = tree.query(np.c_[scene.x, scene.y])
    seen = distance < 2

    def share(low, high):
        return seen[(scene.snr > low) & (scene.snr < high)].mean()

    away = cKDTree(np.c_[scene.x, scene.y]).query(np.c_[x, y])[0]
    bright = seen & (scene.snr > 50)
    return {
        "C5": share(4.5, 5.5),
        "C10": share(9, 11),
        "C20+": share(20, 1e9),
        "false": np.count_nonzero(away > 5),
        "pos px": np.median(distance[bright]) / 1.1774,
    }


def run_extraction(scene, table):
    """On an image without cosmic rays, like the published comparison."""
    rng = np.random.default_rng(1)
    variance = (scene.truth + READ_NOISE**2).astype(np.float32)
    data = (scene.truth + rng.normal(0, 1, variance.shape) * np.sqrt(variance)).astype(np.float32)

    def ours():
        sky = estimate_background(data)
        left = data - sky.level
        sources = find_sources(left, variance).sources
        aperture_fluxes(left, sources.x_win, sources.y_win, RADII, variance=variance)
        return sources

    offset = np.arange(-4, 5)
    taps = np.exp(-0.5 * (offset / (FWHM / 2.3548)) ** 2)
    matched = np.outer(taps, taps).astype(np.float32)
    filtered = np.sqrt((matched**2).sum()) / matched.sum()

    def stock(sigma, pixels, kernel):
        sky = sep.Background(data)
        left = data - sky.back()
        found = sep.extract(left, sigma * sky.globalrms, minarea=pixels, filter_kernel=kernel)
        x, y, _ = sep.winpos(left, found["x"], found["y"], np.full(found.size, FWHM / 2.3548))
        for radius in RADII:
            sep.sum_circle(left, x, y, radius, err=sky.globalrms)
        return x, y

    sources = table.time("extraction", "firstlight", ours, 2)
    table.quality["extraction", "firstlight"].append(
        detection_quality(scene, sources.x_win, sources.y_win)
    )
    small = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
    recipes = (
        ("sep 1.5 sigma 5 px", 1.5, 5, small),
        ("sep matched 4.5 sigma 3 px", 4.5 * filtered, 3, matched),
    )
    for name, *recipe in recipes:
        x, y = table.time("extraction", name, lambda r=recipe: stock(*r), 2)
        table.quality["extraction", name].append(detection_quality(scene, x, y))


def run_chain(image, table):
    """What a frame costs from electrons to photometry."""

    def chain():
        rays = find_cosmic_rays(image.data, image.variance, image.flags, fwhm=FWHM)
        flags = image.flags | np.where(rays.mask, np.uint16(8), np.uint16(0))
        sky = estimate_background(image.data, rays.mask)
        left = image.data - sky.level
        found = find_sources(left, image.variance, flags).sources
        aperture_fluxes(left, found.x_win, found.y_win, RADII, variance=image.variance, flags=flags)

    table.time("chain", "firstlight", chain, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # ccdproc warns of units
    sep.set_extract_pixstack(10_000_000)
    run_chain(run_calibration(make_scene(99, (256, 256)), Table()), Table())
    table = Table()
    for seed in range(options.seeds):
        scene = make_scene(seed, (options.height, options.width))
        image = run_calibration(scene, table)
        run_cosmic_rays(scene, image, table)
        run_extraction(scene, table)
        run_chain(image, table)
    peers = ("sep", "astroscrappy", "ccdproc", "numba", "numpy")
    print(f"{options.height} x {options.width}, {options.seeds} seeds, medians; ", end="")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in peers))
    table.show()


if __name__ == "__main__":
    main()
