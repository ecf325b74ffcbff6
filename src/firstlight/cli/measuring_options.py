"""Options of the commands that measure in one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Aperture",
    "Catalog",
    "Colour",
    "Gain",
    "ImageFile",
    "ImageFilter",
    "ObsTime",
    "Saturation",
    "Section",
    "TrustWcs",
]

ImageFile = Annotated[Path, typer.Argument(help="A FITS file (plain, .fz, .gz, .bz2).")]
ImageFilter = Annotated[
    str | None, typer.Option("--filter", help="What the image was taken through.")
]
Section = Annotated[
    str | None, typer.Option(help="Part of a file of several images: name or number.")
]
ObsTime = Annotated[
    str | None,
    typer.Option(
        "--obstime", "--mjd", help="Middle of the exposure, UTC: ISO date and time, or MJD."
    ),
]
Gain = Annotated[float | None, typer.Option(help="Electrons per ADU.")]
Saturation = Annotated[float | None, typer.Option(help="ADU of a saturated pixel.")]
Aperture = Annotated[float | None, typer.Option(help="Radius of the circle, in FWHM.")]
Catalog = Annotated[str | None, typer.Option(help="Reference catalogue.")]
Colour = Annotated[
    float | None, typer.Option(help="Colour of the target, in the catalogue's colour.")
]
TrustWcs = Annotated[
    bool | None,
    typer.Option(
        "--trust-wcs/--ignore-wcs",
        help="Take the header's WCS as it is, or solve without it; refined if neither.",
    ),
]
