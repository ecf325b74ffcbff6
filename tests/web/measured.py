"""Measurements on a difference as a reduction leaves them, written by hand."""

import uuid

import numpy as np

from firstlight.algorithms.candidates.find import Candidates
from firstlight.algorithms.candidates.stamps import CandidateStamps
from firstlight.formats.cutout_file import CutoutRows, write_cutouts
from firstlight.models.image import Image
from firstlight.models.measurement import Cutouts, Measurement, MeasurementSet
from firstlight.models.object import Object
from firstlight.models.psf import PSF
from firstlight.models.reference import Reference
from firstlight.models.sky_search import place
from firstlight.models.step_run import StepRun
from firstlight.services.object_matching import site_audience

SIDE = 11


def cutout_rows(count, seed=1):
    """Noise with a source in the middle of new image and difference."""
    dice = np.random.default_rng(seed)
    pixels = dice.normal(0, 5, (count, 3, SIDE, SIDE)).astype(np.float32)
    pixels[:, ::2, SIDE // 2, SIDE // 2] += 200.0
    numbers = np.arange(count, dtype=np.float64)
    found = Candidates(
        x=20.0 + numbers, y=10.0 + numbers, score=12.0 - numbers, flux=200.0 + numbers,
        flux_error=numbers + 10.0, flags=np.arange(count).astype(np.uint16),
        opposite=np.zeros(count), peaks=np.ones(count, np.int64),
    )  # fmt: skip
    stamps = CandidateStamps(
        pixels=pixels,
        variance=np.full((count, SIDE, SIDE), 25.0, np.float32),
        flags=dice.integers(0, 4, (count, SIDE, SIDE)).astype(np.uint16),
        row=np.arange(count),
        column=np.arange(count) + 3,
    )
    return CutoutRows(found, stamps, dice.random((count, 7, 7)).astype(np.float32))


def measure(database, store, exposure, rows, *, names, section="0", turn=1):
    """Add a difference and a measurement for each name; None for one that is not kept.

    Returns the numbers of the measurements. The reference is the image itself: nobody looks.
    """
    image = rows["preprocess"]
    made = {"software_id": image.software_id, "provenance_id": image.provenance_id}
    stem = f"{exposure.id.hex[:8]}.{section}-{turn}"
    stamps = cutout_rows(len(names))
    store.put(f"cutouts/{stem}.parquet", write_cutouts(stamps))
    columns = {c.name: getattr(image, c.name) for c in Image.__table__.columns}
    difference = Image(**columns | made | {
        "id": uuid.uuid4(), "kind": "difference", "filename": f"images/{stem}-difference.fits",
    })  # fmt: skip
    store.put(difference.filename, store.read(image.filename))
    psf = PSF(
        **made, id=uuid.uuid4(), sources_id=rows["find_sources"].id, fwhm=3.0, n_stars=9,
        varies=False, filename=f"psfs/{stem}.npz",
    )  # fmt: skip
    reference = Reference(
        **made, id=uuid.uuid4(), image_id=image.id, sources_id=rows["find_sources"].id,
        psf_id=psf.id, wcs_id=rows["solve_astrometry"].id, field="M 101", version=1,
        instrument=image.instrument, section_id=section, mjd_start=1.0, mjd_end=2.0, n_images=1,
        fwhm=3.0, corners=[], radius=0.1, method="weighted", measures={},
    )  # fmt: skip
    cutouts = Cutouts(
        **made, id=uuid.uuid4(), difference_id=difference.id, n_candidates=len(names), size=SIDE,
        threshold=5.0, filename=f"cutouts/{stem}.parquet",
    )  # fmt: skip
    measured = MeasurementSet(
        **made, id=uuid.uuid4(), cutouts_id=cutouts.id, image_id=image.id,
        difference_id=difference.id, reference_id=reference.id, n_candidates=len(names),
        n_kept=sum(name is not None for name in names), model="trees 1",
    )  # fmt: skip
    with database.begin() as session:
        audience = site_audience(session, exposure.site)
        for row in (difference, psf, reference, cutouts, measured):
            session.add(row)
            session.flush()
        session.merge(StepRun(
            exposure_id=exposure.id, section_id=section, step="subtract", number=5,
            state="done", provenance_id=image.provenance_id, product_id=difference.id,
            notes={"score_width": 1.0052995681762695},
        ))  # fmt: skip
        numbers = []
        for number, name in enumerate(names):
            row = _measurement(session, exposure, measured, number, name, audience)
            numbers.append(row.id)
        session.merge(StepRun(
            exposure_id=exposure.id, section_id=section, step="measure_changes", number=7,
            state="done", provenance_id=image.provenance_id, product_id=measured.id, notes={},
        ))  # fmt: skip
    return numbers


def _measurement(session, exposure, measured, number, name, audience):
    thing = None
    if name is not None:
        thing = Object(
            id=uuid.uuid4(), name=name, ra=210.8, dec=54.3, origin="transients",
            audience_id=audience,
        )  # fmt: skip
        place(thing, 210.8, 54.3)
        session.add(thing)
        session.flush()
    row = Measurement(
        set_id=measured.id, number=number, object_id=thing.id if thing else None,
        audience_id=audience, mjd=exposure.mjd, filter="rp", x=20.0, y=10.0, score=12.0 - number,
        flux=200.0, flux_err=17.0, flux_ujy=30.0, flux_err_ujy=2.5, mag=20.2, mag_err=0.09,
        real=0.9 if name else 0.1, is_kept=name is not None,
        why_not=[] if name else ["it is drawn out"], flags=0, measures={},
    )  # fmt: skip
    place(row, 210.8, 54.3)
    session.add(row)
    session.flush()
    return row
