"""preprocess: one raw section to electrons with variance and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.calibrate import CalibratedImage
from firstlight.algorithms.detector.colour_mosaic import without_checkerboard
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.sources.detect import star_width
from firstlight.formats.fits_image import Planes
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.sky_search import place
from firstlight.pipeline.detector_frame import DetectorFrame, masters_from
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import Step, StepImpossible, Workpiece

__all__ = ["Preprocess"]

CLIPPINGS = 8
CLIP = 3.0
CLIP_LOSS = 1.0136  # a Gaussian cut at three sigma is that much narrower
CORRECTIONS = ("bias", "dark", "flat", "static_level")


class Preprocess(Step):
    """Overscan, bias, dark, flat, gain, bad pixels, cosmic rays: each done, or said not to be.

    Parameters
    ----------
    settings
        Which corrections are wanted.
    instruments
        Properties that the settings give to instruments, by instrument: part of the provenance.
    """

    name = "preprocess"
    version = "3"
    makes = "image"
    product_class = Image

    def __init__(
        self,
        settings: PreprocessSettings,
        instruments: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.settings = settings
        self._instruments = {name: dict(facts) for name, facts in (instruments or {}).items()}

    def parameters(self) -> dict[str, Any]:
        """All settings, those of the instruments included: a gain changes every pixel."""
        parameters = self.settings.critical()
        return parameters | {"instruments": self._instruments} if self._instruments else parameters

    def run(self, piece: Workpiece) -> Image:
        """Make the calibrated image of the piece's section."""
        exposure, section = piece.exposure, piece.section_id
        if exposure.mjd is None:
            raise StepImpossible(
                "the header does not say when it was taken",
                subject=exposure.filename,
                field="DATE-OBS",
            )
        header = exposure.section_headers[section]
        camera = exposure.instrument_object
        merged = {**dict(exposure.raw_header), **dict(header)}
        frame = DetectorFrame.of(camera, merged, section, exposure.data[section])
        wanted = {
            role: image
            for role, image in piece.calibrations.masters.items()
            if getattr(self.settings, role)
        }
        done = self._record(piece, frame, set(wanted))
        overscan = self.settings.overscan and frame.has_overscan
        planes = frame.to_electrons(
            masters_from(wanted),
            exposure.exp_time or 0.0,
            overscan=overscan,
            growth=self.settings.saturation_growth,
        )
        why = None if overscan or "bias" in wanted else _unknown_noise(frame)
        if why is not None:
            planes = _with_measured_noise(planes)
            done["noise"] = {"done": True, "why": f"{why}: measured"}
        pattern = camera.get_cfa_pattern(merged)
        if pattern is not None:
            planes = without_checkerboard(planes)
            done["colour_mosaic"] = {"done": True, "why": f"luminance of {pattern}"}
        # Of a mosaic every second pixel of a star is left: too sharp to tell it from a hit.
        in_colour = camera.get_cfa_pattern(dict(exposure.raw_header)) is not None
        if self.settings.cosmic_rays and pattern is None and not in_colour:
            done["cosmic_rays"] = {"done": True, "pixels": _flag_cosmic_rays(planes)}
        image = self._image(piece, frame, planes)
        image.calibration = done
        image.pixel_scale = camera.get_pixel_scale(merged, section)
        piece.notes |= {name: facts["why"] for name, facts in done.items() if not facts["done"]}
        return image

    def _record(
        self, piece: Workpiece, frame: DetectorFrame, roles: set[str]
    ) -> dict[str, dict[str, Any]]:
        """For each correction, whether it is done, with what, and why (not)."""
        told: dict[str, dict[str, Any]] = {"overscan": {"done": False}}
        if not self.settings.overscan:
            told["overscan"]["why"] = "switched off"
        elif frame.has_overscan:
            told["overscan"] = {"done": True, "why": "the header tells where it is"}
        else:
            told["overscan"]["why"] = "the header tells of none"
        for role in CORRECTIONS:
            reason = piece.calibrations.reasons.get(role, "no master")
            if role in roles:
                master = piece.calibrations.masters[role]
                told[role] = {"done": True, "why": reason, "master": str(master.id)}
            elif role in piece.calibrations.masters:
                told[role] = {"done": False, "why": "switched off"}
            else:
                told[role] = {"done": False, "why": reason}
        return told | frame.known_as_done()

    def _image(self, piece: Workpiece, frame: DetectorFrame, planes: CalibratedImage) -> Image:
        exposure = piece.exposure
        index = exposure.instrument_object.get_section_filter_array_index(piece.section_id)
        image = Image(
            kind=ImageKind.SCIENCE.value,
            exposure_id=exposure.id,
            instrument=exposure.instrument,
            section_id=piece.section_id,
            filter=exposure.filter_array[index] if exposure.filter_array else exposure.filter,
            binning=exposure.binning,
            temperature=exposure.temperature,
            mjd=exposure.mjd,
            exp_time=exposure.exp_time,
            gain=frame.gain,
            read_noise=frame.read_noise,
            saturation=frame.saturation,
            header=dict(exposure.header or {}),
        )
        if exposure.ra is not None and exposure.dec is not None:
            place(image, exposure.ra, exposure.dec)
        weight = np.where(planes.variance > 0, 1.0 / planes.variance, 0.0)
        raw_header = dict(exposure.section_headers[piece.section_id])
        image.planes = Planes(planes.data, weight, planes.flags, raw_header)
        image.inputs = [
            ImageInput(role=role, number=0, input_image_id=master.id)
            for role, master in piece.calibrations.masters.items()
        ]
        return image


def _unknown_noise(frame: DetectorFrame) -> str | None:
    """Why the noise of a frame without overscan and bias cannot be modelled; None if it can."""
    if frame.bias_level is None:
        return "the level of zero light is not known"
    if frame.known["read_noise"]["from"] == "assumed":
        return "the read noise is not known"
    return None


def _flag_cosmic_rays(planes: CalibratedImage) -> int:
    """Flag hits in place; the width of the stars, measured first, keeps their cores safe."""
    sky = estimate_background(planes.data, (planes.flags & UNUSABLE) != 0)
    stars = star_width(planes.data - sky.level, planes.variance, planes.flags)
    # The narrow axis of trailed stars: it is what a cosmic ray must be sharper than.
    narrow = stars.fwhm / np.sqrt(stars.elongation)
    width = float(narrow) if np.isfinite(narrow) else None
    found = find_cosmic_rays(planes.data, planes.variance, planes.flags, fwhm=width, sky=sky.level)
    planes.flags[found.mask] |= np.uint16(Flag.COSMIC_RAY)
    return int(found.mask.sum())


def _with_measured_noise(planes: CalibratedImage) -> CalibratedImage:
    """Set the variance of the sky to the scatter that it has.

    Where neither bias nor overscan is known, the pedestal of the camera counts as light and
    the variance comes out too large. The Poisson part of the sources is kept.
    """
    good = (planes.flags & UNUSABLE) == 0
    # Neighbours two pixels apart: the sky cancels, and so does most of a smooth source.
    pairs = good[:, 2:] & good[:, :-2]
    steps: NDArray[np.float32] = (planes.data[:, 2:] - planes.data[:, :-2])[pairs]
    if steps.size < 100:
        return planes
    # Clipped, not percentiles: differences of whole ADU are too coarse for those.
    spread = float(np.std(steps))
    for _ in range(CLIPPINGS):
        spread = float(np.std(steps[np.abs(steps) < CLIP * spread])) * CLIP_LOSS
    measured = np.float32(spread**2 / 2.0)
    modelled = float(np.median(planes.variance[good]))
    variance = np.maximum(planes.variance + np.float32(measured - modelled), 0.25 * measured)
    return CalibratedImage(planes.data, variance.astype(np.float32), planes.flags)
