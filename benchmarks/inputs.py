"""What the parts share: calibrated images and source lists of the cases, made once, unmeasured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from cases import Case, Known, known
from firstlight.algorithms.flags import UNUSABLE
from firstlight.formats.fits_image import write_planes
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.pipeline.step import Workpiece
from firstlight_chain import calibrations, recipe


@dataclass
class Input:
    """A case with its calibrated image on disk, as both sides read it."""

    case: Case
    truth: Known | None
    piece: Workpiece
    folder: Path
    saturation: float | None


def prepare(case: Case) -> Input:
    """Calibrate, find sources and solve by the recipe; write the image for the peers too."""
    configure_data_roots(Path(case.root))
    piece = Workpiece(Exposure(filename=case.raw), case.section, calibrations(case))
    recipe().run(piece, {})
    image = piece.image
    assert image is not None, f"{case.name} cannot be calibrated"
    if piece.wcs is not None:
        step = piece.wcs.projection.cd * 3600 / case.scale
        case.mount = tuple(tuple(int(v) for v in row) for row in np.rint(step))
    folder = Path(case.folder)
    write_planes(folder / "planes.fits", image.planes)
    # What firstlight leaves out by its flags has no weight: nobody detects there.
    weight = np.where((image.flags & UNUSABLE) != 0, 0, image.weight).astype(np.float32)
    fits.writeto(folder / "image.fits", image.data, overwrite=True)
    fits.writeto(folder / "weight.fits", weight, overwrite=True)
    level = None if case.saturation is None else 0.95 * case.saturation * case.gain
    return Input(case, known(case), piece, folder, level)
