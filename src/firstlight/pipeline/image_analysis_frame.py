"""The first half of an image's analysis: from raw counts to sources and the shape of a star."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.calibrate import Masters
from firstlight.algorithms.detector.colour_mosaic import without_checkerboard
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.detector.noise import image_depth
from firstlight.algorithms.detector.star_widths import star_widths
from firstlight.algorithms.flags import MEANINGS, UNUSABLE, Flag
from firstlight.algorithms.sources.detect import find_sources
from firstlight.formats.fits_file import check_pixels
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.image_bench import Bench
from firstlight.pipeline.image_sky import detection_variance, map_sky, sky_variance
from firstlight.pipeline.psf_stars import learn_psf
from firstlight.pipeline.step import StepImpossible
from firstlight.pipeline.steps.find_sources import NoSources

__all__ = [
    "FRAME_STEPS",
    "NoTime",
    "UnknownGain",
    "background",
    "cosmic_rays",
    "inspect",
    "mask",
    "sources",
]

IN_ELECTRONS = frozenset({"electron", "electrons", "e", "e-"})
DEPTH_APERTURES = 1500
FEWEST_EMPTY = 60


class NoTime(StepImpossible):
    """The header does not say when the image was taken."""

    code = "analysis.no_time"


class UnknownGain(StepImpossible):
    """Nobody knows how many electrons one count of this camera is."""

    code = "analysis.unknown_gain"


def inspect(bench: Bench) -> dict[str, Any]:
    """What the image is: pixels, time, filter, gain, saturation.

    Raises
    ------
    AllNan, ConstantImage
        The pixels say nothing.
    NoTime
        No time in the header, and none given.
    UnknownGain
        No gain in the header, of the instrument, or given.
    """
    raw, settings, result = bench.raw, bench.settings, bench.result
    check_pixels(raw.pixels, raw.name, "image")
    camera, header = raw.camera, raw.header
    given = camera.extract_header_info(header, ("exp_time",), subject=raw.name)
    result.exp_time = given.get("exp_time")
    result.instrument = camera.name
    result.image_filter = settings.filter or camera.get_filter(header)
    mjd = settings.mjd
    if mjd is None:
        mjd = camera.get_mid_mjd(header, subject=raw.name)
    if mjd is None:
        raise NoTime(
            subject=raw.name,
            field="DATE-OBS",
            hint="give the middle of the exposure (MJD, UTC) with mjd",
        )
    result.mjd = float(mjd)
    bench.frame = _frame(bench)
    bench.is_mosaic = camera.get_cfa_pattern(header) is not None
    told = {name: facts["from"] for name, facts in bench.frame.known.items()}
    return {
        "rows": int(raw.pixels.shape[0]),
        "columns": int(raw.pixels.shape[1]),
        "instrument": camera.name,
        "section": raw.section or None,
        "sections": raw.sections,
        "gain": bench.frame.gain,
        "gain_from": told["gain"],
        "saturation": bench.frame.saturation,
        "saturation_from": told["saturation_limit"],
        "colour_mosaic": bench.is_mosaic,
    }


def _frame(bench: Bench) -> DetectorFrame:
    """What is known of the detector, what was given before what the header says."""
    raw, settings = bench.raw, bench.settings
    frame = DetectorFrame.of(raw.camera, raw.header, raw.section_id, raw.pixels)
    known = dict(frame.known)
    unit = str(raw.header.get("BUNIT", "")).strip().lower()
    if settings.gain is not None:
        known["gain"] = {"value": settings.gain, "from": "given"}
    elif unit in IN_ELECTRONS:
        known["gain"] = {"value": 1.0, "from": "BUNIT"}
    if known["gain"] != frame.known["gain"]:
        frame = replace(frame.with_one("gain"), gain=known["gain"]["value"])
    if known["gain"]["from"] == "assumed":
        card = raw.header.get("GAIN")
        raise UnknownGain(
            subject=raw.name,
            field="GAIN",
            found="no card that says it" if card is None else f"{card}, not electrons per ADU",
            expected="electrons per ADU",
            hint="give it with gain; without it the errors would mean nothing",
        )
    if settings.saturation is not None:
        frame = frame.with_one("saturation_limit", "non_linearity_limit")
        frame = replace(frame, saturation=settings.saturation, linear_limit=None)
        known["saturation_limit"] = {"value": settings.saturation, "from": "given"}
    if frame.saturation is None:
        bench.note("The saturation level is not known: a saturated star may pass unseen.")
    return replace(frame, known=known)


def mask(bench: Bench) -> dict[str, Any]:
    """Electrons, without overscan, and flags of what cannot be used."""
    frame = bench.frame
    assert frame is not None  # noqa: S101, the step `inspect` comes before
    areas = [area for area in frame.areas if area.data is not None]
    planes = frame.to_electrons(
        Masters(), bench.result.exp_time or 0.0, overscan=frame.has_overscan, growth=1
    )
    if bench.is_mosaic:
        planes = without_checkerboard(planes)
    lost = ~np.isfinite(planes.variance) | ~np.isfinite(planes.data)
    bench.flags = planes.flags | np.where(lost, np.uint16(Flag.NO_DATA), np.uint16(0))
    bench.data = np.where(lost, np.float32(0.0), planes.data)
    if planes.data.shape != bench.raw.pixels.shape:
        data = areas[0].data if len(areas) == 1 else None
        bench.offset = None if data is None else (data[1].start or 0, data[0].start or 0)
    counts = {bit.name.lower(): int(((bench.flags & bit) != 0).sum()) for bit in MEANINGS
              if bit.name}  # fmt: skip
    return {
        "flagged": {name: count for name, count in counts.items() if count},
        "usable": float(((bench.flags & UNUSABLE) == 0).mean()),
    }


def cosmic_rays(bench: Bench) -> dict[str, Any]:
    """Flag pixels hit by cosmic rays; the width of the stars keeps their cores safe."""
    if not bench.settings.cosmic_rays:
        return {"done": False, "why": "switched off"}
    if bench.is_mosaic or bench.raw.in_colour:
        return {"done": False, "why": "stars of a colour mosaic are too sharp to tell from hits"}
    bench.sky = estimate_background(bench.data, (bench.flags & UNUSABLE) != 0)
    bench.residual = bench.data - bench.sky.level
    noise = detection_variance(bench.residual, bench.sky, bench.flags)
    widths = star_widths(bench.residual, noise, bench.flags)
    found = find_cosmic_rays(bench.residual, noise, bench.flags, fwhm=widths)
    bench.flags[found.mask] |= np.uint16(Flag.COSMIC_RAY)
    return {"done": True, "pixels": int(found.mask.sum())}


def background(bench: Bench) -> dict[str, Any]:
    """The sky's level and noise, mapped without what stands out of a first map."""
    bench.sky = sky = map_sky(bench.data, bench.flags, first=bench.sky)
    bench.residual = bench.data - sky.level
    bench.sky_variance = sky_variance(sky, bench.flags)
    return {"level": sky.median_level, "noise": sky.median_rms, "cell": sky.mesh}


def sources(bench: Bench) -> dict[str, Any]:
    """Find sources, learn the PSF from stars among them, and measure the noise between them.

    Raises
    ------
    NoSources
        Nothing is above the threshold.
    """
    assert bench.sky is not None  # noqa: S101, the step `background` comes before
    noise = detection_variance(bench.residual, bench.sky, bench.flags)
    found = find_sources(bench.residual, noise, bench.flags, threshold=bench.settings.threshold)
    bench.detection = found
    if found.found == 0:
        raise NoSources(
            subject=bench.raw.name,
            found="nothing above the threshold",
            expected=f"sources above {bench.settings.threshold:g} sigma",
        )
    light = found.sources
    bench.psf = learn_psf(
        (bench.residual, bench.sky_variance, bench.flags),
        light.columns(),
        (light.x_win, light.y_win, light.flux),
        bench.fwhm,
    )
    if bench.psf is None:
        bench.note("Too few clear stars to learn the PSF from: aperture photometry alone.")
    radius = bench.settings.aperture * bench.fwhm
    depth = image_depth(
        bench.residual,
        bench.sky_variance,
        radius,
        occupied=found.footprints > 0,
        flags=bench.flags,
        apertures=DEPTH_APERTURES,
        seed=bench.settings.seed,
    )
    if depth.apertures >= FEWEST_EMPTY and depth.expected > 0:
        bench.noise_scale = max(1.0, depth.measured / depth.expected)
        bench.sky_variance = bench.sky_variance * np.float32(bench.noise_scale**2)
    return {
        "sources": int(found.found),
        "fwhm": bench.fwhm,
        "elongation": float(found.elongation),
        "psf_stars": 0 if bench.psf is None else bench.psf.stars,
        "psf_varies": bench.psf is not None and bench.psf.varies,
        "noise_scale": bench.noise_scale,
        "empty_circles": depth.apertures,
    }


FRAME_STEPS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "inspect": inspect,
    "mask": mask,
    "cosmic_rays": cosmic_rays,
    "background": background,
    "sources": sources,
}
"""What any image goes through, whatever is sought in it, in this order."""
