"""Measuring one file, without a workspace: how bright is what is at a place of the sky."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from astropy.io.fits import Header

from firstlight.algorithms.colour_channels import CHANNELS
from firstlight.algorithms.projection import Projection
from firstlight.algorithms.quads import QuadTable
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import BadFile, FirstlightError, InvalidInput, UserError
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.instruments.base import Instrument
from firstlight.instruments.header_values import parse_angle, parse_right_ascension
from firstlight.pipeline.header_projection import header_projection
from firstlight.pipeline.image_analysis import OnStep, analyse_image, checked_place
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_bench import RawImage
from firstlight.services.measurement_pictures import draw_report

__all__ = ["ImageMeasurementService", "ImageTooLong", "parse_place", "read_raw_image"]


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
            one whose WCS holds the place is taken, else the first.
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
            raw = read_raw_image(path, (ra, dec), settings)
        except FirstlightError as fault:
            result = ImageAnalysisResult(name=path.name, ra=ra, dec=dec)
            result.fail("inspect", fault)
            for later in result.steps[1:]:
                later.state, later.facts = "skipped", {"why": "inspect was not done"}
            _write(result, report)
            return result
        bench = analyse_image(
            raw, (ra, dec), catalog=catalog, settings=settings, quads=self._quads, on_step=on_step
        )
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
    """Read the image of a file that holds a place.

    Parameters
    ----------
    max_pixels
        Largest image that is read; None for no limit.

    Raises
    ------
    ImageTooLong
        It has more pixels than `max_pixels`; none was read.
    BadFile, BadHeader
        It cannot be read; the class says why.
    UnknownInstrument
        No instrument has the name that was given.
    """
    name = settings.instrument
    first = get_instrument_instance(name or "GenericFITS").read_header(path)
    camera = get_instrument_instance(name or guess_instrument(path.name, first))
    primary = camera.read_header(path)
    sections = [str(section) for section in camera.section_ids_of_file(path)]
    chosen = _choose(camera, path, sections, place, settings.filter)
    header = camera.read_header(path, chosen)
    if not primary.get("NAXIS"):
        header = _merged(primary, header)
    _check_size(header, max_pixels, path.name)
    pixels = camera.load_section_image(path, chosen)
    name = path.name if len(sections) == 1 else f"{path.name}[{chosen}]"
    if pixels.ndim != 2:
        raise BadFile(subject=name, found=pixels.shape, expected="rows and columns")
    in_colour = camera.get_cfa_pattern(primary) is not None
    return RawImage(name, pixels, header, camera, chosen, in_colour=in_colour)


def _choose(
    camera: Instrument,
    path: Path,
    sections: Sequence[str],
    place: tuple[float, float],
    wanted: str | None,
) -> str:
    """The section of the filter asked for, else the one whose WCS holds the place, else the first.

    Of a colour camera the green one: it has the most light, and is the nearest to V.
    """
    if len(sections) == 1:
        return sections[0]
    by_filter = {section.upper(): section for section in sections}
    if wanted is not None and wanted.upper() in by_filter:
        return by_filter[wanted.upper()]
    if set(by_filter) == set(CHANNELS):
        return by_filter["G"]
    return next((s for s in sections if _holds(camera, path, s, place)), sections[0])


def _merged(primary: Header, own: Header) -> Header:
    """The cards of an image, and those of the primary header that it does not have itself."""
    header = own.copy()
    for card in primary.cards:
        known = card.keyword in header or card.keyword in ("", "COMMENT", "HISTORY")
        if not known:
            header.append((card.keyword, card.value, card.comment))
    return header


def _shape(header: Header) -> tuple[int, int]:
    """Rows and columns, of tiles those of the unpacked image; 0 where they are not told."""
    sides = ("ZNAXIS2", "ZNAXIS1") if "ZNAXIS1" in header else ("NAXIS2", "NAXIS1")
    rows, columns = (int(header.get(side, 0) or 0) for side in sides)
    return rows, columns


def _check_size(header: Header, largest: int | None, subject: str) -> None:
    rows, columns = _shape(header)
    if largest is not None and rows * columns > largest:
        raise ImageTooLong(
            subject=subject,
            found=f"{columns} x {rows} pixels",
            expected=f"at most {largest / 1e6:g} million pixels",
            hint="cut out the field around the target, or bin the image",
        )


def _holds(camera: Instrument, path: Path, section: str, place: tuple[float, float]) -> bool:
    header = camera.read_header(path, section)
    shape = _shape(header)
    projection: Projection | None = header_projection(header, shape)
    if projection is None:
        return False
    x, y = projection.sky_to_pixel(*place)
    return bool(-0.5 <= x <= shape[1] - 0.5 and -0.5 <= y <= shape[0] - 0.5)
