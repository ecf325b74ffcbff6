"""What changed between two files, without a workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.real_bogus import REAL_ABOVE
from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import FirstlightError, InvalidInput
from firstlight.formats.fits_image import Planes, write_planes
from firstlight.formats.tables import save_table
from firstlight.pipeline.comparison import Comparison, OnStage, compare_images, prepare
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_analysis_sky import plate_solve_image
from firstlight.pipeline.image_bench import Bench
from firstlight.services.comparison_pictures import draw_candidates
from firstlight.services.image_measurement import read_raw_image

__all__ = ["Change", "ImageComparison", "ImageComparisonService"]

LEAST_THRESHOLD = 3.0
UNLIKE = "it does not look like the new sources that the model was trained on"
TELLING_SCATTER = 1.08  # of the sky over that of its pixels: more than chance on a small frame
EPOCH = 57_388.5  # MJD of 2016.0: of positions of stars for an image without a time
NUMBERS = ("x", "y", "ra", "dec", "score", "flux", "flux_err", "real")
UNITS = {
    "ra": "deg", "dec": "deg", "x": "pix", "y": "pix", "flux": "electron",
    "flux_err": "electron",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One thing that changed.

    Attributes
    ----------
    x, y
        Pixels of the new image, 0-based.
    ra, dec
        ICRS degrees; None where the image's place on the sky is not known.
    score
        Signal-to-noise ratio; negative where light is missing.
    flux, flux_err
        Electrons in the new image; negative where light is missing.
    real
        Probability that it is a new source, by a model trained on simulated pairs.
    why_not
        Reasons against it; empty for those that are kept.
    """

    x: float
    y: float
    ra: float | None
    dec: float | None
    score: float
    flux: float
    flux_err: float
    real: float
    why_not: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {name: getattr(self, name) for name in NUMBERS} | {"why_not": list(self.why_not)}


@dataclass(frozen=True)
class ImageComparison:
    """What changed between two images.

    Attributes
    ----------
    changes
        The most significant first; with those that are not kept.
    noise
        Width of the score where nothing changed: 1 where the errors are right.
    alignment
        ``order`` of the map, ``pairs`` of stars, their ``noise`` in pixels.
    flux_ratio
        Electrons of a star in the new image over those in the reference, in the middle.
    written
        Files.
    """

    new: str
    reference: str
    changes: list[Change]
    noise: float
    alignment: dict[str, Any]
    flux_ratio: float
    notes: list[str]
    seconds: dict[str, float]
    written: list[str] = field(default_factory=list)

    @property
    def kept(self) -> list[Change]:
        """Changes that nothing speaks against."""
        return [each for each in self.changes if not each.why_not]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "new": self.new,
            "reference": self.reference,
            "changes": [each.as_dict() for each in self.changes],
            "kept": len(self.kept),
            "noise": self.noise,
            "alignment": self.alignment,
            "flux_ratio": self.flux_ratio,
            "notes": self.notes,
            "seconds": self.seconds,
            "written": self.written,
        }


class ImageComparisonService:
    """Compares files; keeps nothing but what is asked for.

    Parameters
    ----------
    catalog
        Reference stars, to tell where on the sky a change is.
    """

    def __init__(self, *, catalog: ReferenceCatalog) -> None:
        self._catalog = catalog

    def compare(
        self,
        new: Path,
        reference: Path,
        *,
        threshold: float = 5.0,
        gains: tuple[float | None, float | None] = (None, None),
        output: Path | None = None,
        on_stage: OnStage | None = None,
    ) -> ImageComparison:
        """Find what is in the new image and not in the reference, or the other way round.

        Parameters
        ----------
        new, reference
            FITS files of one field: plain, ``.fz``, ``.gz``, ``.bz2`` or ``.xz``.
        threshold
            Of the score.
        gains
            Electrons per ADU of either image; the header's or the instrument's where None.
        output
            Folder for ``difference.fits`` (DATA, WEIGHT, FLAGS and SCORE), ``changes.parquet``
            and a picture of the changes; it is made if it is not there.
        on_stage
            Called after each stage with its name and seconds.

        Raises
        ------
        FirstlightError
            A file cannot be read or used, or the two do not show the same field.
        """
        if not LEAST_THRESHOLD <= threshold <= 1e6:
            raise InvalidInput(
                field="threshold", found=threshold, expected=f"at least {LEAST_THRESHOLD:g}"
            )
        told = on_stage or (lambda _stage, _seconds: None)
        benches = [
            self._bench(path, gain) for path, gain in zip((new, reference), gains, strict=True)
        ]
        seconds: dict[str, float] = {}
        for title, bench in zip(("new", "reference"), benches, strict=True):

            def done(stage: str, took: float, title: str = title) -> None:
                seconds[f"{title}: {stage}"] = took
                told(f"{title}: {stage}", took)

            prepare(bench, done)
        found = compare_images(*benches, threshold=threshold, on_stage=told)
        self._solve(benches[0])
        result = _told(found, seconds | found.seconds)
        if output is not None:
            result.written.extend(str(path) for path in _write(found, result, output))
        return result

    def _bench(self, path: Path, gain: float | None) -> Bench:
        settings = ImageAnalysisSettings(gain=gain)
        raw = read_raw_image(path, (0.0, 0.0), settings)
        result = ImageAnalysisResult(name=raw.name, ra=0.0, dec=0.0)
        if raw.camera.get_mid_mjd(raw.header, subject=raw.name) is None:
            settings = settings.model_copy(update={"mjd": EPOCH})
            result.notes.append(f"{raw.name} does not say when it was taken.")
        place = raw.camera.extract_header_info(raw.header, ("ra", "dec"), subject=raw.name)
        ra, dec = (float(place.get(name) or 0.0) for name in ("ra", "dec"))
        # No blind search of the whole sky: a comparison is of use without a place on it.
        return Bench(raw, settings, ra, dec, self._catalog, None, result)

    def _solve(self, bench: Bench) -> None:
        """Find where on the sky the new image is, if its header says where to look."""
        try:
            plate_solve_image(bench)
        except FirstlightError as fault:
            bench.note(f"Where it is on the sky is not known: {fault.message}.")


def _told(found: Comparison, seconds: dict[str, float]) -> ImageComparison:
    new = found.new
    ny, nx = new.shape
    score = found.subtraction.score
    quiet = np.abs(score[(score != 0) & np.isfinite(score)])
    return ImageComparison(
        new=new.raw.name,
        reference=found.reference.raw.name,
        changes=_changes(found),
        noise=MAD_TO_SIGMA * float(np.median(quiet)) if quiet.size else float("nan"),
        alignment={
            "order": found.alignment.order,
            "pairs": len(found.alignment.first),
            "noise": found.alignment.noise,
        },
        flux_ratio=float(found.subtraction.ratio.at(nx / 2, ny / 2)),
        notes=[*new.result.notes, *found.reference.result.notes, *_shared_noise(found)],
        seconds=seconds,
    )


def _shared_noise(found: Comparison) -> list[str]:
    if found.scatter < TELLING_SCATTER:
        return []
    told = (
        f"Over a star's area the sky scatters {found.scatter:.2f} times as much as single pixels "
        "tell, as in images that were resampled: errors and scores hold it."
    )
    return [told]


def _changes(found: Comparison) -> list[Change]:
    candidates, measures = found.candidates, found.measures
    ra, dec = _sky(found.new, measures.x, measures.y)
    return [
        Change(
            x=float(measures.x[n]),
            y=float(measures.y[n]),
            ra=None if ra is None else float(ra[n]),
            dec=None if dec is None else float(dec[n]),
            score=float(candidates.score[n]),
            # The map's error holds what the subtraction leaves at bright galaxies.
            flux=float(candidates.flux[n]),
            flux_err=float(candidates.flux_error[n]),
            real=float(found.real[n]),
            why_not=_against(found, n),
        )
        for n in range(len(candidates))
    ]


def _against(found: Comparison, number: int) -> tuple[str, ...]:
    reasons = found.judgement.reasons[number]
    return (*reasons, UNLIKE) if found.real[number] < REAL_ABOVE else reasons


def _sky(bench: Bench, x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
    return (None, None) if bench.projection is None else bench.projection.pixel_to_sky(x, y)


def _write(found: Comparison, result: ImageComparison, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    difference, table = folder / "difference.fits", folder / "changes.parquet"
    subtraction, new = found.subtraction, found.new
    usable = np.isfinite(subtraction.variance) & (subtraction.variance > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(usable, 1.0 / subtraction.variance, 0.0).astype(np.float32)
    header: dict[str, Any] = {"BUNIT": "electron", "NEW": result.new, "REFIMAGE": result.reference}
    if new.projection is not None:
        header |= new.projection.to_header()
    planes = Planes(
        subtraction.difference, weight, subtraction.flags, header, {"score": subtraction.score}
    )
    write_planes(difference, planes)
    columns: dict[str, NDArray[Any]] = {
        name: np.array([getattr(each, name) for each in result.changes], dtype=np.float64)
        for name in NUMBERS
    }
    columns["why_not"] = np.array(["; ".join(each.why_not) for each in result.changes], dtype=str)
    save_table(table, columns, units=UNITS)
    kept = [number for number, each in enumerate(result.changes) if not each.why_not]
    return [difference, table, *draw_candidates(found, kept, folder)]
