"""Sections with differences and measurements as a reduction leaves them, without their pixels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import delete

from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.fits_image import Planes, write_planes
from firstlight.models import (
    PSF,
    Cutouts,
    Exposure,
    Image,
    Measurement,
    MeasurementSet,
    Reference,
    SourceList,
    StepRun,
    WorldCoordinates,
    ZeroPoint,
)
from firstlight.models.data_root import configure_data_roots
from firstlight.models.database import Database
from firstlight.models.provenance import Provenance, Software
from firstlight.models.sky_search import place
from firstlight.provenance.code_version import software_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.object_matching import site_audience

SCALE = 1.0 / 3600.0  # degrees a pixel
LINEAGE = Lineage("test", "1", {})
STEPS = ("preprocess", "find_sources", "solve_astrometry", "solve_photometry", "subtract")


@dataclass
class Section:
    """Rows of one section of one exposure."""

    exposure: Exposure
    image: Image
    difference: Image
    wcs: WorldCoordinates
    zero_point: ZeroPoint


@dataclass
class Survey:
    """Writes rows; `folder` is where the pixels of differences go, if any."""

    database: Database
    folder: Path | None = None
    shape: tuple[int, int] = (100, 120)
    centre: tuple[float, float] = (150.0, 2.0)
    reference: uuid.UUID = field(default_factory=uuid.uuid4)
    made: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None:
            configure_data_roots(self.folder)
        self.made = {"provenance_id": LINEAGE.id, "software_id": software_id()}
        with self.database.begin() as session:
            Provenance.record(session, LINEAGE)
            Software.record(session)
        first = self.section(50_000.0)
        with self.database.begin() as session:
            sources = self.sources(session, first.image)
            psf = PSF(
                id=uuid.uuid4(), sources_id=sources.id, fwhm=3.0, n_stars=9, varies=False,
                filename=f"{uuid.uuid4()}.npz", **self.made,
            )  # fmt: skip
            self._add(session, psf)
            self._add(session, Reference(
                id=self.reference, image_id=first.image.id, sources_id=sources.id, psf_id=psf.id,
                wcs_id=first.wcs.id, zero_point_id=first.zero_point.id, field="f", version=1,
                instrument="GenericFITS", section_id="0", mjd_start=1.0, mjd_end=2.0, n_images=1,
                fwhm=3.0, corners=[], radius=0.1, method="weighted", measures={}, **self.made,
            ))  # fmt: skip
            # Of this one nothing is present: other workers may write theirs beside.
            of_it = StepRun.exposure_id == first.exposure.id
            session.execute(delete(StepRun).where(of_it))

    def projection(self, dx: float = 0.0, dy: float = 0.0) -> Projection:
        """East to the left, as a camera has it; shifted by pixels."""
        ny, nx = self.shape
        return Projection(
            crval=self.centre,
            crpix=((nx - 1) / 2 + dx, (ny - 1) / 2 + dy),
            cd=np.array([[-SCALE, 0.0], [0.0, SCALE]]),
        )

    def section(
        self, mjd: float, *, number: str = "0", site: str | None = None,
        planes: Planes | None = None,
        exposure: Exposure | None = None, shift: tuple[float, float] = (0.0, 0.0),
        zero: float = 25.0, pixel_scale: float = 1.0,
    ) -> Section:  # fmt: skip
        """All rows up to the difference, with runs that name them as the present ones."""
        ny, nx = self.shape
        projection = self.projection(*shift)
        with self.database.begin() as session:
            if exposure is None:
                exposure = Exposure(
                    nofile=True, id=uuid.uuid4(), instrument="GenericFITS", kind="science",
                    mjd=mjd, filter="r", header={}, site=site, airmass=1.2, latitude=30.0,
                    longitude=-70.0, elevation=2000.0, sha256=uuid.uuid4().hex,
                )  # fmt: skip
                self._add(session, exposure)
            image = self.image(exposure, number, "science", pixel_scale)
            self._add(session, image)
            difference = self.image(exposure, number, "difference", pixel_scale)
            if planes is not None:
                assert self.folder is not None
                write_planes(self.folder / difference.filename, planes)
            self._add(session, difference)
            sources = self.sources(session, image)
            wcs = WorldCoordinates(
                id=uuid.uuid4(), sources_id=sources.id, cards=projection.to_header(), catalog="c",
                method="hinted", pixel_scale=1.0, rms_arcsec=0.1, rms_pixels=0.1, n_matched=9,
                log_odds=99.0, radius=float(np.hypot(nx, ny) / 2 * SCALE), **self.made,
            )  # fmt: skip
            ra, dec = projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
            place(wcs, float(ra), float(dec))
            self._add(session, wcs)
            zero_point = ZeroPoint(
                id=uuid.uuid4(), sources_id=sources.id, wcs_id=wcs.id, catalog="c", band="r",
                system="AB", ab_offset=0.0, zero_point=zero, zero_point_err=0.01, scatter=0.1,
                n_stars=40, n_rejected=1, aperture=0, aperture_correction=0.0, **self.made,
            )  # fmt: skip
            self._add(session, zero_point)
            products = (image, sources, wcs, zero_point, difference)
            for step, product in zip(STEPS, products, strict=True):
                self.run(session, exposure, number, step, product.id)
        return Section(exposure, image, difference, wcs, zero_point)

    def image(self, exposure, number, kind, pixel_scale=1.0):
        """The row of an image."""
        ny, nx = self.shape
        return Image(
            id=uuid.uuid4(), kind=kind, exposure_id=exposure.id, instrument="GenericFITS",
            section_id=number, filter="r", mjd=exposure.mjd, nx=nx, ny=ny, gain=1.0,
            read_noise=1.0, calibration={}, header={}, filename=f"{uuid.uuid4()}.fits",
            pixel_scale=pixel_scale, exp_time=30.0, **self.made,
        )  # fmt: skip

    def sources(self, session, image):
        """The row of a list of sources, without its file."""
        row = SourceList(
            id=uuid.uuid4(), image_id=image.id, n_sources=0, fwhm=3.0, background=1.0, noise=1.0,
            aperture_radii=[1.0], aperture_corrections=[0.0], measures={},
            filename=f"{uuid.uuid4()}.parquet", **self.made,
        )  # fmt: skip
        return self._add(session, row)

    def measure(self, session, section, ra, dec, *, error=0.2, kept=None):
        """A set of measurements at places; what keeps Objects is to be called with it."""
        cutouts = Cutouts(
            id=uuid.uuid4(), difference_id=section.difference.id, n_candidates=len(ra), size=11,
            threshold=5.0, filename=f"{uuid.uuid4()}.parquet", **self.made,
        )  # fmt: skip
        self._add(session, cutouts)
        measured = MeasurementSet(
            id=uuid.uuid4(), cutouts_id=cutouts.id, image_id=section.image.id,
            difference_id=section.difference.id, reference_id=self.reference,
            n_candidates=len(ra), n_kept=len(ra), model="trees 1", **self.made,
        )  # fmt: skip
        audience = site_audience(session, section.exposure.site)
        for n in range(len(ra)):
            row = Measurement(
                number=n, audience_id=audience, mjd=section.exposure.mjd, filter="r", x=20.0,
                y=10.0, position_err=error, score=12.0 - n * 1e-3, flux=200.0, flux_err=17.0,
                flux_ujy=30.0, flux_err_ujy=2.5, mag=20.2, mag_err=0.09, real=0.9,
                is_kept=kept is None or kept[n], why_not=[], flags=0, measures={},
            )  # fmt: skip
            place(row, float(ra[n]), float(dec[n]))
            measured.measurements.append(row)
        session.add(measured)
        session.flush()
        return measured

    def run(self, session, exposure, number, step, product_id):
        """Make a product the present one of its section."""
        session.merge(StepRun(
            exposure_id=exposure.id, section_id=number, step=step, number=0, state="done",
            provenance_id=LINEAGE.id, product_id=product_id, notes={},
        ))  # fmt: skip

    def recognise(self, keeper, section, ra, dec, **details):
        """Measure places and have them recognised, as the reduction does in one transaction."""
        with self.database.begin() as session:
            measured = self.measure(
                session, section, np.atleast_1d(ra), np.atleast_1d(dec), **details
            )
            keeper(session, measured, section.exposure)
            self.run(
                session, section.exposure, section.image.section_id, "measure_changes", measured.id
            )
            return [row.object_id for row in measured.measurements]

    def _add(self, session, row):
        session.add(row)
        session.flush()
        return row
