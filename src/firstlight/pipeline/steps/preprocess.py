"""preprocess: one raw section to electrons with variance and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.detector.calibrate import CalibratedImage
from firstlight.algorithms.detector.colour_mosaic import without_checkerboard
from firstlight.algorithms.detector.fringe import fit_fringe, remove_fringe
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.formats.fits_image import Planes
from firstlight.instruments.registry import camera_fingerprints
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.sky_search import place
from firstlight.pipeline.detector_frame import DetectorFrame, masters_from
from firstlight.pipeline.ghosts import find_ghosts
from firstlight.pipeline.pixel_marks import mark_given, mark_pixels
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import Step, StepImpossible, Workpiece

__all__ = ["Preprocess"]

CLIPPINGS = 8
CLIP = 3.0
CLIP_LOSS = 1.0136  # a Gaussian cut at three sigma is that much narrower
CORRECTIONS = ("bias", "dark", "flat", "illumination", "static_level", "fringe", "bad_pixels")
SELDOM = ("illumination", "fringe", "bad_pixels")  # their absence is no news
Record = dict[str, dict[str, Any]]


class Preprocess(Step):
    """Raw counts to electrons: each correction done, or said not to be, and why.

    In this order: overscan and crosstalk, bias, linearity, dark, flat and illumination, fringe;
    then flags of saturation with its charge, of trails and of cosmic rays.

    Parameters
    ----------
    settings
        Which corrections are wanted.
    instruments
        Properties that the settings give to instruments, by instrument: part of the provenance.
    """

    name = "preprocess"
    version = "8"
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
        """All settings, and what was told of cameras: a gain or a table changes every pixel."""
        parameters = self.settings.critical()
        if self._instruments:
            parameters["instruments"] = self._instruments
        cameras = camera_fingerprints()
        return parameters | {"cameras": cameras} if cameras else parameters

    def run(self, piece: Workpiece) -> Image:
        """Make the calibrated image of the piece's section."""
        _check(piece)
        exposure, section = piece.exposure, piece.section_id
        camera, header = exposure.instrument_object, _header(piece, section)
        frame = DetectorFrame.of(camera, header, section, exposure.data[section])
        before = tuple(camera.corrections_done(header) or ())
        wanted = {
            role: image
            for role, image in piece.calibrations.masters.items()
            if getattr(self.settings, role) and role not in before
        }
        done = self._record(piece, frame, wanted) | _record_before(before)
        done |= self._find_ghosts(piece, frame, before)
        planes = self._electrons(piece, frame, wanted, done)
        given = _given_flags(piece, header) if before else None
        if given is not None:
            done["mask"] = mark_given(planes, given)
        pattern = camera.get_cfa_pattern(header)
        if pattern is not None:
            planes = without_checkerboard(planes)
            done["colour_mosaic"] = {"done": True, "why": f"luminance of {pattern}"}
        # Of a mosaic every second pixel of a star is left: too sharp to tell it from a hit.
        in_colour = camera.get_cfa_pattern(dict(exposure.raw_header)) is not None
        done |= mark_pixels(
            planes,
            self.settings,
            along=camera.bleeds_along,
            limit_known=frame.saturation is not None,
            hits=pattern is None and not in_colour,
            seams=frame.seams,
        )
        image = self._image(piece, frame, planes)
        image.calibration = done
        image.pixel_scale = camera.get_pixel_scale(header, section)
        piece.notes |= {
            name: facts["why"]
            for name, facts in done.items()
            if not facts["done"] and facts.get("applies", True)
        }
        return image

    def _electrons(
        self, piece: Workpiece, frame: DetectorFrame, wanted: Mapping[str, Image], done: Record
    ) -> CalibratedImage:
        """Electrons with variance and flags of single pixels; `done` is brought up to date."""
        overscan = self.settings.overscan and frame.has_overscan
        planes = (frame if self.settings.linearity else frame.as_read).to_electrons(
            masters_from(wanted),
            piece.exposure.exp_time or 0.0,
            overscan=overscan,
            growth=self.settings.saturation_growth,
        )
        if "fringe" in wanted:
            done["fringe"] |= _take_off_fringe(planes, wanted["fringe"])
        why = None if overscan or "bias" in wanted else _unknown_noise(frame)
        if why is not None:
            planes = _with_measured_noise(planes)
            done["noise"] = {"done": True, "why": f"{why}: measured"}
        return planes

    def _find_ghosts(
        self, piece: Workpiece, frame: DetectorFrame, before: tuple[str, ...]
    ) -> Record:
        """Give the frame what other amplifiers left in it; the record's news."""
        exposure, section = piece.exposure, piece.section_id
        camera = exposure.instrument_object
        terms = camera.get_crosstalk(section)
        if not terms or not self.settings.crosstalk or "crosstalk" in before:
            return {}
        if not frame.has_overscan and frame.bias_level is None:
            return {"crosstalk": {"done": False, "why": "the level of zero light is not known"}}

        def other(name: str) -> DetectorFrame:
            return DetectorFrame.of(camera, _header(piece, name), name, exposure.data[name])

        frame.ghosts, told = find_ghosts(frame, section, terms, other)
        return {"crosstalk": told}

    def _record(
        self, piece: Workpiece, frame: DetectorFrame, wanted: Mapping[str, Image]
    ) -> Record:
        """For each correction, whether it is done, with what, and why (not)."""
        told: Record = {"overscan": {"done": False}}
        if not self.settings.overscan:
            told["overscan"]["why"] = "switched off"
        elif frame.has_overscan:
            told["overscan"] = {"done": True, "why": "the header tells where it is"}
        else:
            told["overscan"]["why"] = "the header tells of none"
        told["crosstalk"] = self._of_table("crosstalk", piece, known=False)
        told["linearity"] = self._of_table("linearity", piece, known=frame.has_linearity)
        for role in CORRECTIONS:
            reason = piece.calibrations.reasons.get(role, "no master")
            if role in wanted:
                told[role] = {"done": True, "why": reason, "master": str(wanted[role].id)}
            elif role in piece.calibrations.masters:
                told[role] = {"done": False, "why": "switched off"}
            else:
                told[role] = {"done": False, "why": reason}
                if role in SELDOM:
                    told[role]["applies"] = False
        return told | frame.known_as_done()

    def _of_table(self, kind: str, piece: Workpiece, *, known: bool) -> dict[str, Any]:
        """Entry of a correction by a table of the camera."""
        if not getattr(self.settings, kind):
            return {"done": False, "why": "switched off"}
        if known:
            return {"done": True, "why": "the camera's table"}
        camera = piece.exposure.instrument_object
        named = camera.names_table(kind)
        why = f"there is no file {named}" if named else "the camera has no table"
        return {"done": False, "why": why, "applies": named is not None}

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


def _check(piece: Workpiece) -> None:
    """Refuse what no image can be made of."""
    exposure = piece.exposure
    if exposure.mjd is None:
        raise StepImpossible(
            "the header does not say when it was taken",
            subject=exposure.filename,
            field="DATE-OBS",
        )
    if exposure.instrument_object.get_property(piece.section_id, "defective"):
        raise StepImpossible(
            "the section is defective",
            subject=exposure.filename,
            field=f"section {piece.section_id}",
        )


def _header(piece: Workpiece, section_id: str) -> dict[str, Any]:
    """The cards of the exposure and of one section, which count more."""
    exposure = piece.exposure
    return {**dict(exposure.raw_header), **dict(exposure.section_headers[section_id])}


def _record_before(before: tuple[str, ...]) -> Record:
    """Entries of what another pipeline did to the file."""
    told = {"done": True, "why": "before the file came", "by": "another pipeline"}
    return {role: dict(told) for role in before}


def _given_flags(piece: Workpiece, header: Mapping[str, Any]) -> NDArray[np.uint16] | None:
    """The mask that lies beside a file."""
    exposure = piece.exposure
    if exposure.filename is None:
        return None
    try:
        path = exposure.get_fullpath()
    except FileNotFoundError:  # its pixels are in memory only, and so nothing lies beside them
        return None
    return exposure.instrument_object.load_section_flags(path, piece.section_id, header)


def _take_off_fringe(planes: CalibratedImage, master: Image) -> dict[str, Any]:
    """Fit and subtract the pattern, in place, where the image shows it; the record's news."""
    hidden = ((planes.flags & UNUSABLE) != 0) | ((master.flags & Flag.BAD) != 0)
    fit = fit_fringe(planes.data, hidden, master.data)
    strength = {"scale": fit.scale, "error": fit.error if np.isfinite(fit.error) else None}
    if not fit.is_seen:
        return {"done": False, "why": "the image does not show the pattern", **strength}
    remove_fringe(planes.data, planes.variance, master.data, fit, master.variance)
    return strength


def _unknown_noise(frame: DetectorFrame) -> str | None:
    """Why the noise of a frame without overscan and bias cannot be modelled; None if it can."""
    if frame.bias_level is None:
        return "the level of zero light is not known"
    if frame.known["read_noise"]["from"] == "assumed":
        return "the read noise is not known"
    return None


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
