"""Measuring one file, without a workspace: how bright is what is at a place of the sky."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from astropy.io.fits import Header

from firstlight.algorithms.pictures.colour_channels import CHANNELS
from firstlight.algorithms.plate.quads import QuadTable
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import BadFile, FirstlightError, InvalidInput, UserError
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.instruments.base import Instrument
from firstlight.instruments.header_values import parse_angle, parse_right_ascension
from firstlight.pipeline.image_analysis import OnStep, analyse_image
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_sections import FileSection, SectionSearch
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_bench import RawImage
from firstlight.pipeline.sky_place import checked_place
from firstlight.services.image_sections import (
    colour_sections,
    file_sections,
    named_section,
    of_the_sky,
    plane_shape,
    with_primary,
)
from firstlight.services.measurement_pictures import draw_report

__all__ = [
    "ImageMeasurementService",
    "ImageTooLong",
    "open_image",
    "parse_place",
    "read_raw_image",
]


class ImageTooLong(UserError):
    """The image is larger than this portal measures."""

    code = "analysis.too_large"


class ImageMeasurementService:
    """Measures files; keeps nothing.

    Parameters
    ----------
    catalog
        Opens a reference catalogue by its name, the default one by None.
    quads
        Gives the index of the whole sky when a blind search needs it.
    """

    def __init__(
        self,
        *,
        catalog: Callable[[str | None], ReferenceCatalog],
        quads: Callable[[], QuadTable] | None,
    ) -> None:
        self._catalog = catalog
        self._quads = quads

    def measure(
        self,
        path: Path,
        place: tuple[float, float],
        settings: ImageAnalysisSettings | None = None,
        *,
        report: Path | None = None,
        on_step: OnStep | None = None,
    ) -> ImageAnalysisResult:
        """Measure the brightness at a place of the sky in one file.

        Parameters
        ----------
        path
            FITS: plain, ``.fz``, ``.gz``, ``.bz2`` or ``.xz``. Of a file of several images the
            one that holds the place is found, by their WCS or by solving them.
        place
            ICRS right ascension and declination, degrees.
        settings
            What is known better than by the header, and how to measure.
        report
            Folder for the diagnostic plots and the result as ``result.json``; it is made if it
            is not there.
        on_step
            Told whenever a step changes its state.

        Returns
        -------
        ImageAnalysisResult
            With the state of every step. What is wrong with the file is an error of the step
            ``inspect``; `ImageAnalysisResult.raise_if_failed` raises what went wrong.

        Raises
        ------
        InvalidInput, UnknownCatalog
            The place or the name of the catalogue is wrong.
        """
        settings = settings or ImageAnalysisSettings()
        ra, dec = checked_place(*place)
        catalog = self._catalog(settings.catalog)
        try:
            raw, search = open_image(path, (ra, dec), settings)
        except FirstlightError as fault:
            result = ImageAnalysisResult(name=path.name, ra=ra, dec=dec)
            result.fail("inspect", fault)
            for later in result.steps[1:]:
                later.state, later.facts = "skipped", {"why": "inspect was not done"}
            _write(result, report)
            return result
        bench = analyse_image(
            raw, (ra, dec), catalog=catalog, settings=settings, quads=self._quads,
            on_step=on_step, search=search,
        )  # fmt: skip
        if report is not None:
            draw_report(bench, report)
        _write(bench.result, report)
        return bench.result


def _write(result: ImageAnalysisResult, folder: Path | None) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def parse_place(ra: str, dec: str) -> tuple[float, float]:
    """Degrees of a position in degrees, or in hours and degrees written with colons.

    Raises
    ------
    InvalidInput
        It is no position.
    """
    try:
        place = parse_right_ascension(ra), parse_angle(dec)[0]
    except ValueError as fault:
        raise InvalidInput(
            "This is no place on the sky.",
            found=f"{ra} {dec}",
            expected="degrees (31.0428 46.6878) or hours and degrees (02:04:10.28 +46:41:16.2)",
        ) from fault
    return checked_place(*place)


def read_raw_image(
    path: Path,
    place: tuple[float, float],
    settings: ImageAnalysisSettings,
    *,
    max_pixels: int | None = None,
) -> RawImage:
    """Read the image of a file that holds a place, or the likeliest one; see `open_image`."""
    return open_image(path, place, settings, max_pixels=max_pixels)[0]


def open_image(
    path: Path,
    place: tuple[float, float],
    settings: ImageAnalysisSettings,
    *,
    max_pixels: int | None = None,
) -> tuple[RawImage, SectionSearch | None]:
    """Read the image of a file to begin with, and what finds the one that holds a place.

    Parameters
    ----------
    max_pixels
        Largest image that is read; None for no limit.

    Returns
    -------
    tuple
        The second one is None where there is no choice: the file has one image, the colours of
        one, or the section was named.

    Raises
    ------
    ImageTooLong
        It has more pixels than `max_pixels`; none was read.
    BadFile, BadHeader
        It cannot be read; the class says why.
    UnknownInstrument, UnknownSection
        There is none of the name that was given.
    """
    name = settings.instrument
    first = get_instrument_instance(name or "GenericFITS").read_header(path)
    camera = get_instrument_instance(name or guess_instrument(path.name, first))
    file = _ImageFile(path, camera, max_pixels)
    chosen = _chosen(file, settings)
    if chosen is not None:
        return file.read(chosen), None
    search = SectionSearch(of_the_sky(file.sections), place, file.read)
    return search.first(), search


def _chosen(file: _ImageFile, settings: ImageAnalysisSettings) -> FileSection | None:
    """The section that was asked for, or the only one; None where it is to be found.

    Of a colour camera that of the filter, else the green one: it has the most light, and is the
    nearest to V.
    """
    sections, subject = file.sections, file.path.name
    if settings.section is not None:
        return named_section(sections, settings.section, subject)
    if len(sections) == 1:
        return sections[0]
    if not colour_sections(file.camera, file.path):
        return None
    wanted = (settings.filter or "").upper()
    return named_section(sections, wanted if wanted in CHANNELS else "G", subject)


class _ImageFile:
    """A file with its sections, which are read one at a time."""

    def __init__(self, path: Path, camera: Instrument, max_pixels: int | None) -> None:
        self.path = path
        self.camera = camera
        self.sections = file_sections(camera, path)
        self._max_pixels = max_pixels
        self._primary = camera.read_header(path)

    def read(self, section: FileSection) -> RawImage:
        """One image, with what its own header and the primary one tell."""
        count = len(self.sections)
        own = self.camera.read_header(self.path, section.id)
        header = with_primary(self._primary, own, among_others=count > 1)
        _check_size(header, self._max_pixels, self.path.name)
        pixels = self.camera.load_section_image(self.path, section.id)
        name = self.path.name if count == 1 else f"{self.path.name}[{section.name}]"
        if pixels.ndim != 2:
            raise BadFile(subject=name, found=pixels.shape, expected="rows and columns")
        return RawImage(
            name,
            pixels,
            header,
            self.camera,
            section.id,
            in_colour=self.camera.get_cfa_pattern(self._primary) is not None,
            section="" if count == 1 else section.name,
            sections=count,
        )


def _check_size(header: Header, largest: int | None, subject: str) -> None:
    rows, columns = plane_shape(header)
    if largest is not None and rows * columns > largest:
        raise ImageTooLong(
            subject=subject,
            found=f"{columns} x {rows} pixels",
            expected=f"at most {largest / 1e6:g} million pixels",
            hint="cut out the field around the target, or bin the image",
        )
