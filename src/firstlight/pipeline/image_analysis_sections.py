"""Which part of a file of several images holds the target, by their WCS or by solving one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import angular_separation, unit_vectors
from firstlight.errors import FirstlightError
from firstlight.pipeline.image_bench import Bench, RawImage
from firstlight.pipeline.step import StepImpossible

__all__ = ["FileSection", "NoSection", "SectionSearch", "is_beside_the_image"]

MOST_TRIED = 12
NEAR_EDGE = 25.0  # pixels by which a header's WCS or a camera's plan may be wrong
_OTHER_PLANES = frozenset(
    {"BPM", "CAT", "DQ", "ERR", "ERROR", "FLAGS", "IVAR", "MASK", "MSK", "PSF", "SIGMA", "STD"}
    | {"UNCERT", "VAR", "VARIANCE", "WEIGHT", "WHT", "WT"}
)
_OF_THE_SECTION = frozenset(
    {"astrometry.not_solved", "fits.all_nan", "fits.constant", "sources.none"}
)
"""Faults that another section need not have."""


class NoSection(StepImpossible):
    """No part of the file holds the target."""

    code = "analysis.no_section"


@dataclass(frozen=True)
class FileSection:
    """One image of a file.

    Attributes
    ----------
    id, name
        As its camera calls it, and as people do.
    shape
        ``(ny, nx)`` as it lies in the file.
    projection
        As its header tells; None where it tells none.
    offset
        Pixels from the field's centre to this section's; None where the camera does not know.
    """

    id: str
    name: str
    shape: tuple[int, int]
    projection: Projection | None = None
    offset: tuple[float, float] | None = None

    def place_of(self, ra: float, dec: float) -> tuple[float, float] | None:
        """Pixel of a position by its header's WCS."""
        if self.projection is None:
            return None
        # Far away a polynomial may lead back into the image.
        far = self._from_middle(self.projection, ra, dec) > float(np.hypot(*self.shape))
        x, y = self.projection.sky_to_pixel(ra, dec)
        return (np.inf, np.inf) if far or not np.isfinite(x + y) else (float(x), float(y))

    def outside(self, ra: float, dec: float) -> float | None:
        """By how many pixels a position is outside by the header's WCS; not positive within."""
        place = self.place_of(ra, dec)
        if self.projection is None or place is None:
            return None
        if np.isfinite(place[0]):
            return _outside(place, self.shape)
        return self._from_middle(self.projection, ra, dec)

    def _from_middle(self, projection: Projection, ra: float, dec: float) -> float:
        """Pixels from the middle to a position, by the pixel scale alone."""
        ny, nx = self.shape
        middle = projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
        apart = angular_separation(float(middle[0]), float(middle[1]), ra, dec)
        return float(apart) * 3600.0 / projection.pixel_scale


class SectionSearch:
    """Goes from one section to the next until the target is in one.

    Parameters
    ----------
    sections
        Of the file, without planes of errors and flags.
    place
        Of the target, ICRS degrees.
    read
        Reads one of them.
    """

    def __init__(
        self,
        sections: Sequence[FileSection],
        place: tuple[float, float],
        read: Callable[[FileSection], RawImage],
    ) -> None:
        self._place = place
        self._read = read
        self._left = sorted(sections, key=self._distance)
        self._now = self._left.pop(0)
        self._is_told = self._distance(self._now) <= 0
        self.tried: list[str] = []

    def first(self) -> RawImage:
        """The section that holds the target by its header, else the likeliest one."""
        return self._read(self._now)

    def after(self, bench: Bench, fault: FirstlightError | None) -> RawImage | None:
        """Where to look next; None where the search is over.

        Parameters
        ----------
        bench
            With the solution of the section that was tried.
        fault
            What ended it instead.
        """
        following = self._following(bench, fault)
        if following is None or len(self.tried) + 1 >= MOST_TRIED:
            return None
        self.tried.append(_told(self._now, bench, fault))
        self._left.remove(following)
        self._now = following
        return self._read(following)

    def nowhere(self, bench: Bench, fault: FirstlightError) -> NoSection:
        """The error when no section was the right one."""
        told = "; ".join([*self.tried, _told(self._now, bench, fault)])
        return NoSection(
            subject=bench.raw.name.partition("[")[0],
            found=told[:400],
            expected="the target within one of them",
            hint="check the position; or choose the section by its name",
        )

    def _distance(self, section: FileSection) -> float:
        """Pixels by which the target is outside by the header; those without a WCS are between."""
        outside = section.outside(*self._place)
        return NEAR_EDGE if outside is None else max(outside, 0.0)

    def _following(self, bench: Bench, fault: FirstlightError | None) -> FileSection | None:
        if fault is not None:
            may_go_on = fault.code in _OF_THE_SECTION and not self._is_told
            return next(iter(self._left), None) if may_go_on else None
        assert bench.projection is not None  # noqa: S101, asked for after it was solved
        if _outside(_pixel(bench.projection, self._place), bench.shape) <= 0:
            return None
        # A polynomial says nothing of what is beyond its section.
        line = Projection(bench.projection.crval, bench.projection.crpix, bench.projection.cd)
        pixel = _pixel(line, self._place)
        known = [(self._by_solution(bench, pixel, each), each) for each in self._left]
        near = [(far, each) for far, each in known if far is not None and far <= NEAR_EDGE]
        if near:
            return min(near, key=lambda pair: pair[0])[1]
        return next((each for far, each in known if far is None), None)

    def _by_solution(
        self, bench: Bench, pixel: tuple[float, float], other: FileSection
    ) -> float | None:
        """Pixels by which the target is outside another section; None where nothing tells.

        A telescope that points wrongly is wrong by as much in all sections: what the solution
        of one says of its header is true of the others.
        """
        assert bench.projection is not None  # noqa: S101, asked for after it was solved
        ny, nx = bench.shape
        if self._now.projection is not None and other.projection is not None:
            left, low = bench.offset or (0, 0)
            middle = (nx - 1) / 2, (ny - 1) / 2
            true = bench.projection.pixel_to_sky(*middle)
            told = self._now.projection.pixel_to_sky(middle[0] + left, middle[1] + low)
            return other.outside(*_moved(self._place, true, told))
        if self._now.offset is None or other.offset is None:
            return None
        # Sections of one camera are alike, so that places from their centres can be compared.
        x = pixel[0] + self._now.offset[0] - other.offset[0]
        y = pixel[1] + self._now.offset[1] - other.offset[1]
        return _outside((x, y), (ny, nx))


def is_beside_the_image(name: str) -> bool:
    """Whether an image of this name is a plane of errors, flags or weights."""
    words = name.upper().replace("-", "_").split("_")
    return any(word.rstrip("0123456789") in _OTHER_PLANES for word in words)


def _moved(
    place: tuple[float, float], true: tuple[Any, Any], told: tuple[Any, Any]
) -> tuple[float, float]:
    """Where a header says that a place is, if it tells one position where another is true."""
    here, from_, to = (unit_vectors(float(ra), float(dec)) for ra, dec in (place, true, told))
    x, y, z = np.ravel(here + to - from_)
    ra, dec = np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
    return float(ra), float(dec)


def _outside(place: tuple[float, float], shape: tuple[int, int]) -> float:
    x, y = place
    ny, nx = shape
    return max(-0.5 - x, x - (nx - 0.5), -0.5 - y, y - (ny - 0.5))


def _told(section: FileSection, bench: Bench, fault: FirstlightError | None) -> str:
    if fault is not None and fault.code not in ("analysis.outside", NoSection.code):
        return f"{section.name}: {fault.message}"
    assert bench.projection is not None  # noqa: S101, it was solved
    x, y = _pixel(bench.projection, (bench.ra, bench.dec))
    return f"{section.name}: pixel {x:.0f}, {y:.0f}"


def _pixel(projection: Projection, place: tuple[float, float]) -> tuple[float, float]:
    x, y = projection.sky_to_pixel(*place)
    return float(x), float(y)
