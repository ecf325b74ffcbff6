"""Raw section to zero point by firstlight's recipe, in one process. Called by `run.py`.

Usage: ``python firstlight_chain.py OUT CASE...``: the first case is also run once unmeasured.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import numpy as np
from astropy.io import fits

from cases import Case
from firstlight.catalogs.quad_index import quad_index
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.formats.fits_image import Planes
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.pipeline.recipe import Outcome, Recipe
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.step import Calibrations, Workpiece
from meter import metered


def recipe() -> Recipe:
    catalog = Tycho2()
    return standard_recipe(
        RecipeSettings(),
        astrometry=catalog,
        photometry=catalog,
        quads=lambda: quad_index(catalog),
    )


def calibrations(case: Case) -> Calibrations:
    masters = {}
    for role in case.masters:
        with np.load(case.path(f"{role}.npz")) as file:
            image = Image(id=uuid.uuid4(), kind=role)
            image.planes = Planes(file["data"], file["weight"], file["flags"])
            masters[role] = image
    return Calibrations(masters)


def reduce(case: Case, steps: Recipe, masters: Calibrations) -> tuple[Workpiece, list[Outcome]]:
    """Everything from the bytes of the raw file to the zero point, in memory."""
    exposure = Exposure(filename=case.raw)
    piece = Workpiece(exposure, case.section, masters)
    return piece, steps.run(piece, {})


def answer(piece: Workpiece, outcomes: list[Outcome], place: Path) -> dict[str, object]:
    """Leave sources and projection for the judge; plain figures are returned."""
    faults = [f"{o.step}: {(o.error or {}).get('message')}" for o in outcomes if o.error]
    facts: dict[str, object] = {
        "stages": {outcome.step: outcome.cpu_s for outcome in outcomes},
        "failed": faults[0] if faults else None,
    }
    if piece.sources is None:
        return facts
    table, zero = piece.sources.table, piece.zero_point
    flux = np.asarray(table["flux"])[:, zero.aperture if zero else 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -2.5 * np.log10(flux)
    if zero is not None:
        mag += zero.zero_point + zero.aperture_correction
        facts["zero_point"] = zero.zero_point
    np.savez(place.with_suffix(".npz"), x=table["x"], y=table["y"], mag=mag)
    if piece.wcs is not None:
        fits.Header(piece.wcs.cards).totextfile(place.with_suffix(".hdr"), overwrite=True)
    return facts


def main(out: Path, folders: list[Path]) -> None:
    steps, cases = recipe(), [Case.load(folder) for folder in folders]
    for number, case in enumerate([cases[0], *cases]):
        configure_data_roots(Path(case.root))
        masters = calibrations(case)
        with metered() as spent:
            piece, outcomes = reduce(case, steps, masters)
        if number:
            place = out / Path(case.folder).name
            facts = answer(piece, outcomes, place)
            facts |= {"cpu": spent.cpu, "wall": spent.wall}
            place.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
