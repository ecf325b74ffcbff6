"""Products of one exposure as a reduction leaves them, written by hand."""

import uuid

import numpy as np

from firstlight.formats.fits_image import Planes, encode_planes
from firstlight.formats.tables import write_table
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.provenance import Provenance, Software
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun
from firstlight.models.zero_point import ZeroPoint
from firstlight.provenance.code_version import software_id
from firstlight.provenance.lineage import Lineage

NX, NY = 64, 48
STEPS = ("preprocess", "find_sources", "solve_astrometry", "solve_photometry")
ERROR = {
    "code": "photometry.no_zero_point",
    "kind": "user",
    "message": "no zero point: 2 usable reference <stars>",
    "subject": "/secret/place/of/the/file.fits",
    "expected": "at least 5 usable",
    "traceback": "not for people",
}


def lineages():
    """One of each step, each after the one before."""
    made, before = [], ()
    for step in STEPS:
        made.append(Lineage(step, "2", {"threshold": 1.5, "deep": {"er": [1, 2]}}, before))
        before = (made[-1],)
    return made


def reduce(database, store, exposure, *, section="0", failed=None):
    """Add products of a section; the last step fails where `failed`. Returns the rows by step."""
    stem = f"{exposure.id.hex[:8]}.{section}"
    pixels = np.random.default_rng(1).normal(100, 5, (NY, NX)).astype(np.float32)
    pixels[10, 20] += 4000.0
    planes = Planes(pixels, np.ones_like(pixels), np.zeros((NY, NX), np.uint16), {})
    stored = store.put(f"images/{stem}.fits", encode_planes(planes)[".fits"])
    table = {
        "x": np.array([20.0, 40.0]), "y": np.array([10.0, 30.0]),
        "total_flux": np.array([4000.0, 900.0]), "fwhm": np.array([3.0, 3.1]),
        "snr": np.array([80.0, 20.0]), "flags": np.array([0, 1], np.uint16),
    }  # fmt: skip
    store.put(f"sources/{stem}.parquet", write_table(table))
    steps = lineages()
    rows = _rows(exposure, section, stem, stored.sha256, steps)
    with database.begin() as session:
        Software.record(session)
        Provenance.record(session, steps[-1])
        for step, lineage in zip(STEPS, steps, strict=True):
            bad = failed == step
            if not bad:
                session.add(rows[step])
                session.flush()
            session.merge(
                StepRun(
                    exposure_id=exposure.id, section_id=section, step=step,
                    number=STEPS.index(step), state="failed" if bad else "done",
                    provenance_id=lineage.id, product_id=rows[step].id,
                    error=ERROR if bad else None, notes={}, cpu_s=0.1, wall_s=0.1,
                )
            )  # fmt: skip
    return rows


def _rows(exposure, section, stem, sha256, steps):
    made = [
        {"id": uuid.uuid4(), "software_id": software_id(), "provenance_id": s.id} for s in steps
    ]
    image = Image(
        **made[0], kind="science", exposure_id=exposure.id, instrument="GenericFITS",
        section_id=section, filter="rp", mjd=exposure.mjd, nx=NX, ny=NY, gain=1.0, read_noise=5.0,
        pixel_scale=1.2, calibration={}, header={}, filename=f"images/{stem}.fits", sha256=sha256,
    )  # fmt: skip
    sources = SourceList(
        **made[1], image_id=image.id, n_sources=2, fwhm=3.0, elongation=1.0, background=100.0,
        noise=5.0, aperture_radii=[3.0], aperture_corrections=[-0.1], limiting_flux=20.0,
        measures={}, filename=f"sources/{stem}.parquet",
    )  # fmt: skip
    wcs = WorldCoordinates(
        **made[2], sources_id=sources.id, ra=210.8, dec=54.3, hpx=1, catalog="a catalogue",
        cards={
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 32.5, "CRPIX2": 24.5,
            "CRVAL1": 210.8, "CRVAL2": 54.3, "CD1_1": -1 / 60, "CD1_2": 0.0, "CD2_1": 0.0,
            "CD2_2": 1 / 60,
        },
        method="hinted", pixel_scale=60.0, rms_arcsec=0.3, rms_pixels=0.1, n_matched=12,
        log_odds=50.0, radius=0.7,
    )  # fmt: skip
    zero_point = ZeroPoint(
        **made[3], sources_id=sources.id, wcs_id=wcs.id, catalog="a catalogue", band="r",
        system="AB", ab_offset=0.0, zero_point=24.5, zero_point_err=0.01, scatter=0.02,
        n_stars=12, n_rejected=1, aperture=0, aperture_correction=-0.1, limiting_magnitude=20.1,
    )  # fmt: skip
    return dict(zip(STEPS, (image, sources, wcs, zero_point), strict=True))
