"""What a simulated pair of images is made of: every number has a default, a unit and a range."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from firstlight.errors import BadSettings
from firstlight.simulation.settings import CheckedSettings

__all__ = ["PairSettings"]

Count = Annotated[int, Field(ge=0, le=200_000)]
Width = Annotated[float, Field(ge=1.5, le=20)]
Fraction = Annotated[float, Field(ge=0, le=0.5)]
SignalToNoise = Annotated[float, Field(gt=0, le=10_000)]

_COUNTED = ("stars", "galaxies", "transients", "cosmic_rays", "saturated")
_LENGTHS = ("distortion", "reference_distortion")


class PairSettings(CheckedSettings):
    """One new image and its reference: the whole input of `simulate_pair`.

    Attributes
    ----------
    seed
        Same seed, settings and version: same pixels.
    rows, columns
        Pixels of each image.
    stars, galaxies
        Within the new image; their density goes on 64 pixels beyond its edges.
    transients, hosted
        How many, and the share of them that lies on galaxies, as far as these last: each has its
        own. At random places, yet never within 30 pixels of each other, 20 of an edge or 12 of
        a saturated pixel.
    transient_snr
        Lowest and highest signal-to-noise ratio, log-uniform between: see `TransientTruth.snr`.
    cosmic_rays
        Hits of the new image; the reference has none.
    saturated
        Stars brighter than the detector holds, of the new image's width.
    faintest_flux, star_slope
        Electrons (new image) of the faintest star; the numbers of stars grow as
        ``10**(slope * magnitude)`` towards it.
    galaxy_flux, galaxy_radius, galaxy_index
        Log-uniform electrons, log-uniform half-light radius along the long axis in pixels,
        and uniform Sérsic index.
    gain, read_noise
        Electrons per ADU and electrons.
    bias_level, bias_structure
        ADU: pedestal, and one-sigma pattern of the columns.
    vignetting, pixel_response
        Light lost at the corners, and one-sigma response from pixel to pixel, as fractions.
    saturation
        Electrons that a pixel holds; charge above is lost.
    sky, reference_sky
        Electrons a pixel in one exposure.
    reference_exposures
        The reference is the mean of so many, with their noise.
    reference_flux_ratio
        Electrons in one exposure of the reference for one in the new image.
    fwhm, reference_fwhm, moffat_beta
        Of the Moffat profile before it is integrated over pixels, in pixels, and its power.
    psf_variation, ellipticity
        Largest deviation of the width from its nominal value, as a fraction, and largest
        ellipticity (one minus axis ratio) over an image.
    pixel_scale, ra, dec
        Arcseconds a pixel, and where the new image's middle points, ICRS degrees.
    dither, rotation
        Where the reference's axis is in the new image, pixels from the middle (x, y); and how
        much the new image is turned against it, degrees.
    distortion, reference_distortion
        Pixels by which the worst corner is displaced.
    header_error
        Arcseconds by which the header's pointing is off.
    zero_point, catalog_limit
        Magnitude of one electron in the new image; the faintest in the reference catalogue.
    catalog_error
        One-sigma position error of a catalogue star of magnitude `catalog_limit`, in
        milliarcseconds a coordinate; a tenth of it four magnitudes above.
    """

    seed: int = Field(default=1, ge=0, lt=2**63)
    rows: int = Field(default=2048, ge=128, le=8192)
    columns: int = Field(default=4096, ge=128, le=8192)
    stars: Count = 4000
    galaxies: Count = 300
    transients: Count = 60
    hosted: float = Field(default=0.5, ge=0, le=1)
    transient_snr: tuple[SignalToNoise, SignalToNoise] = (5.0, 50.0)
    cosmic_rays: Count = 1500
    saturated: Count = 12
    faintest_flux: float = Field(default=700.0, gt=0, le=1e6)
    star_slope: float = Field(default=0.21, gt=0, le=0.6)
    galaxy_flux: tuple[
        Annotated[float, Field(gt=0, le=1e8)], Annotated[float, Field(gt=0, le=1e8)]
    ] = (3e3, 3e5)
    galaxy_radius: tuple[
        Annotated[float, Field(gt=0, le=50)], Annotated[float, Field(gt=0, le=50)]
    ] = (1.2, 6.0)
    galaxy_index: tuple[
        Annotated[float, Field(ge=0.5, le=6)], Annotated[float, Field(ge=0.5, le=6)]
    ] = (0.8, 3.0)
    gain: float = Field(default=4.0, gt=0, le=100)
    read_noise: float = Field(default=7.0, ge=0, le=200)
    bias_level: float = Field(default=1000.0, ge=100, le=10000)
    bias_structure: float = Field(default=2.0, ge=0, le=50)
    vignetting: Fraction = 0.08
    pixel_response: float = Field(default=0.005, ge=0, le=0.05)
    saturation: float = Field(default=200_000.0, ge=1000, le=6_000_000)
    sky: float = Field(default=2000.0, ge=0, le=100_000)
    reference_sky: float = Field(default=2000.0, ge=0, le=100_000)
    reference_exposures: int = Field(default=4, ge=1, le=10_000)
    reference_flux_ratio: float = Field(default=1.0, ge=0.01, le=100)
    fwhm: Width = 4.0
    reference_fwhm: Width = 3.3
    moffat_beta: float = Field(default=3.5, ge=2, le=10)
    psf_variation: Fraction = 0.04
    ellipticity: Fraction = 0.03
    pixel_scale: float = Field(default=0.25, gt=0.01, le=60)
    ra: float = Field(default=150.1, ge=0, lt=360)
    dec: float = Field(default=2.2, ge=-90, le=90)
    dither: tuple[
        Annotated[float, Field(ge=-50, le=50)], Annotated[float, Field(ge=-50, le=50)]
    ] = (
        2.4,
        -3.6,
    )
    rotation: float = Field(default=0.05, ge=-0.5, le=0.5)
    distortion: float = Field(default=5.0, ge=0, le=50)
    reference_distortion: float = Field(default=5.0, ge=0, le=50)
    header_error: float = Field(default=8.0, ge=0, le=600)
    zero_point: float = Field(default=31.2, ge=10, le=40)
    catalog_limit: float = Field(default=21.0, ge=0, le=40)
    catalog_error: float = Field(default=1.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("transient_snr", "galaxy_flux", "galaxy_radius", "galaxy_index"):
            low, high = getattr(self, name)
            if low > high:
                raise BadSettings(
                    "The lower end comes first.",
                    subject=type(self).__name__,
                    field=name,
                    found=(low, high),
                    expected="(lowest, highest)",
                )
        most = (65535.0 - 1.2 * self.bias_level - 50.0) * self.gain
        if self.saturation > most:
            raise BadSettings(
                "The converter cannot count the charge that a pixel holds.",
                subject=type(self).__name__,
                field="saturation",
                found=self.saturation,
                expected=f"at most {most:.0f} with a gain of {self.gain}",
            )
        return self

    @classmethod
    def of_size(cls, rows: int, columns: int, **changes: Any) -> PairSettings:
        """A pair of another size with the same crowding and the same steepness of distortion.

        Parameters
        ----------
        **changes
            Any other setting; a count that is named here is taken as it is.
        """
        whole = cls()
        area = rows * columns / (whole.rows * whole.columns)
        side = np.hypot(rows, columns) / np.hypot(whole.rows, whole.columns)
        values: dict[str, Any] = {name: round(getattr(whole, name) * area) for name in _COUNTED}
        values |= {name: float(getattr(whole, name) * side) for name in _LENGTHS}
        return cls(**(values | {"rows": rows, "columns": columns} | changes))

    @property
    def shape(self) -> tuple[int, int]:
        """Of each image, ``(ny, nx)``."""
        return self.rows, self.columns
