"""Background, detection, windowed positions, apertures: firstlight's step and source-extractor.

Both read the same calibrated image with its weights from FITS files and write a catalogue of
the same apertures; flagged pixels have no weight.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.fits_image import read_planes
from firstlight.formats.tables import save_table
from firstlight.models.image import Image
from firstlight.pipeline.settings import FindSourcesSettings
from firstlight.pipeline.step import Calibrations, Workpiece
from firstlight.pipeline.steps.find_sources import FindSources
from firstlight.pipeline.steps.solve_photometry import calibration_aperture
from inputs import Input
from judging import detections, fluxes, repeated
from meter import Row, Spent, metered
from peers import SourceExtractor

PART = "Extraction"
REPEATS = 2  # the cheapest counts: another process may have had the caches
USUAL, MATCHED = "source-extractor 1.5 sigma, 5 px", "source-extractor matched 4 sigma, 3 px"


def least(action: Callable[[], object], repeats: int = REPEATS) -> Spent:
    """The cheapest of a few runs."""
    runs = []
    for _ in range(repeats):
        with metered() as spent:
            action()
        runs.append(spent)
    return min(runs, key=lambda spent: spent.cpu)


def measure(data: str, inputs: list[Input], installed: dict[str, str]) -> list[Row]:
    rows = {"firstlight": Row(PART, data, "firstlight", base=True)}
    if "source-extractor" in installed:
        rows |= {name: Row(PART, data, name) for name in (MATCHED, USUAL)}
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    spent: dict[str, list[Spent]] = {}
    for item in inputs:
        for name in rows:
            cost, answer = _ours(item) if name == "firstlight" else _theirs(item, name)
            spent.setdefault(name, []).append(cost)
            found.setdefault(name, []).append(answer)
    for name, row in rows.items():
        quality = _quality(inputs, found[name])
        for item, cost, figures in zip(inputs, spent[name], quality, strict=True):
            row.add(item.case.name, cost, figures)
    return list(rows.values())


def _ours(item: Input) -> tuple[Spent, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    step = FindSources(FindSourcesSettings())
    made = []

    def whole() -> None:
        image = Image(id=item.piece.image.id)
        image.planes = read_planes(item.folder / "planes.fits")
        piece = Workpiece(item.piece.exposure, item.case.section, Calibrations(), image=image)
        sources = step.run(piece)
        save_table(item.folder / "sources.parquet", sources.table.columns)
        made.append(sources)

    spent = least(whole)
    sources = made[-1]
    aperture = calibration_aperture(sources)
    table = sources.table
    total = np.asarray(table["flux"])[:, aperture]
    total = total * 10 ** (-0.4 * sources.aperture_corrections[aperture])
    return spent, (np.asarray(table["x"]), np.asarray(table["y"]), total)


def _theirs(item: Input, name: str) -> tuple[Spent, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    sources = item.piece.sources
    program = SourceExtractor(
        Path(item.folder),
        sources.fwhm or 3.0,
        sources.aperture_radii,
        FindSourcesSettings().threshold if name == MATCHED else None,
        item.saturation,
    )
    spent = least(program.run)
    x, y, table = program.read()
    return spent, (x, y, np.asarray(table["FLUX_AUTO"], float))


def _quality(
    inputs: list[Input], found: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> list[dict[str, float]]:
    if inputs[0].truth is not None:
        return [
            detections(item.truth, x, y) | fluxes(item.truth, x, y, flux, "flux")
            for item, (x, y, flux) in zip(inputs, found, strict=True)
        ]
    first = inputs[0].piece.wcs
    places = []
    for item, (x, y, _) in zip(inputs, found, strict=True):
        if first is None or item.piece.wcs is None:
            return [{} for _ in inputs]
        places.append(_on_first(item.piece.wcs.projection, first.projection, x, y))
    return repeated(places, [flux for *_, flux in found], 1.5)


def _on_first(own: Projection, first: Projection, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack(first.sky_to_pixel(*own.pixel_to_sky(x, y)), axis=1)
