"""References on either database: versions count up, the same is made once, in use or not."""

from __future__ import annotations

import threading
import uuid

import numpy as np
import pytest

from firstlight.errors import FirstlightError
from firstlight.formats.fits_image import Planes
from firstlight.formats.tables import TableData
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.provenance import Provenance, Software
from firstlight.models.psf import PSF
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.build_reference import BuiltReference, ReferenceBuilder, _inputs
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.standard import standard_recipe
from firstlight.services.references import building
from firstlight.services.references.building import ReferenceBuilding
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.services.references.shelf import ReferenceShelf
from firstlight.services.references.wish import ReferenceWish

MJD = 60000.25


class NoCatalog:
    name, release = "none", "1"


class NoFiles:
    """Gives every product a name, and writes nothing."""

    def write(self, product, image, stem):
        if hasattr(product, "filename"):
            product.filename, product.sha256 = f"{stem}-{product.id.hex}", "0" * 64


@pytest.fixture
def recipe() -> Recipe:
    return standard_recipe(
        RecipeSettings(), astrometry=NoCatalog(), photometry=NoCatalog(), quads=None
    )


@pytest.fixture
def reduced(database, recipe):
    """Five exposures of one field, as if they were reduced; the last one has no zero point."""
    with database.begin() as session:
        Software.record(session)
        for lineage in recipe.lineages.values():
            Provenance.record(session, lineage)
        for number in range(5):
            _add_exposure(session, recipe, number)
    return database


def _add_exposure(session, recipe, number):
    exposure = Exposure(
        nofile=True, filename=f"raw/night-{number}.fits", instrument="DemoInstrument",
        kind="science", mjd=MJD + number / 100, filter="r", target="M31", exp_time=30.0,
    )  # fmt: skip
    session.add(exposure)
    session.flush()
    facts = {"calibration": {}, "header": {}, "gain": 1.0, "read_noise": 5.0}
    image = Image(
        kind="science", exposure_id=exposure.id, instrument="DemoInstrument", section_id="A",
        filter="r", mjd=exposure.mjd, exp_time=30.0, nx=50, ny=50, filename=f"i{number}", **facts,
    )  # fmt: skip
    sources = SourceList(
        n_sources=9, fwhm=3.0 + number / 10, background=9.0, noise=5.0, aperture_radii=[3.0],
        aperture_corrections=[0.0], measures={}, filename=f"s{number}",
    )  # fmt: skip
    wcs = WorldCoordinates(
        cards={}, catalog="none", method="hinted", pixel_scale=1.0, rms_arcsec=0.1, rms_pixels=0.1,
        n_matched=9, log_odds=50.0, radius=0.01, ra=10.0, dec=41.0,
    )  # fmt: skip
    zero = ZeroPoint(
        catalog="none", band="r", system="AB", ab_offset=0.0, zero_point=25.0, zero_point_err=0.01,
        scatter=0.01, n_stars=9, n_rejected=0, aperture=0, aperture_correction=0.0,
        limiting_magnitude=20.0,
    )  # fmt: skip
    made = dict(zip(recipe.lineages, (image, sources, wcs, zero), strict=True))
    for place, (step, product) in enumerate(made.items()):
        product.made_by(recipe.lineages[step], {"exposure": exposure.id}, "A")
        sources.image_id, wcs.sources_id, zero.sources_id = image.id, sources.id, sources.id
        zero.wcs_id = wcs.id
        failed = number == 4 and step == "solve_photometry"
        if not failed:
            session.add(product)
            session.flush()
        session.add(
            StepRun(
                exposure_id=exposure.id, section_id="A", step=step, number=place,
                state="failed" if failed else "done", product_id=product.id, notes={},
                error={"message": "no zero point: 2 usable reference stars"} if failed else None,
            )
        )  # fmt: skip


@pytest.fixture
def service(reduced, recipe, monkeypatch):
    """A service whose references have no pixels."""

    def build(self, field_name, images, min_images):
        pixels = np.zeros((50, 50), np.float32)
        first = images[0].image
        image = Image(
            kind="reference", instrument=first.instrument, section_id="A", filter="r", mjd=MJD,
            gain=1.0, read_noise=5.0, calibration={}, header={},
        )  # fmt: skip
        image.planes = Planes(pixels, pixels, pixels.astype(np.uint16))
        image.made_by(self.lineage, {"image": uuid.uuid4()}, "A")
        sources = SourceList(
            image_id=image.id, fwhm=3.0, background=0.0, noise=5.0, aperture_radii=[3.0],
            aperture_corrections=[0.0], measures={},
        )  # fmt: skip
        sources.table = TableData({"x": np.zeros(3)})
        psf = PSF(fwhm=3.0, n_stars=9, varies=False)
        for product in (sources, psf):
            product.made_by(self.lineage, {"image": image.id}, "A")
        psf.sources_id = sources.id
        ids = [each.zero_point.id for each in images]
        row = Reference(
            image_id=image.id, sources_id=sources.id, psf_id=psf.id, wcs_id=images[0].wcs.id,
            field=field_name, instrument=first.instrument, section_id="A", filter="r",
            mjd_start=MJD, mjd_end=MJD + 1, n_images=len(images), fwhm=3.0, corners=[],
            radius=0.01, method=self.method, usable=True, measures={},
        )  # fmt: skip
        row.made_by(self.lineage, dict(_inputs(ids)), "A")
        return BuiltReference([image, sources, psf], row)

    monkeypatch.setattr(building.ReferenceBuilder, "build", build)
    return ReferenceBuilding(database=reduced, files=NoFiles(), recipe=lambda: recipe)


@pytest.fixture
def shelf(reduced):
    return ReferenceShelf(database=reduced, settings=ReferenceChoiceSettings())


def make(service, **wish):
    plan = service.plan(ReferenceWish.of(**wish))
    return [service.build(request.payload) for request in plan.requests]


def test_versions_count_up_and_the_same_is_made_once(service, shelf):
    assert [made["version"] for made in make(service)] == [1]
    assert make(service) == make(service, field="M31", section="A") == []
    assert [made["version"] for made in make(service, max_images=3)] == [2]
    assert [made["version"] for made in make(service, method="proper")] == [3]
    assert [entry.version for entry in shelf.entries()] == [3, 2, 1]
    assert {entry.field for entry in shelf.entries()} == {"M31"}


def test_one_made_twice_at_once_is_one_and_two_have_two_versions(service, shelf):
    wishes = [ReferenceWish.of(), ReferenceWish.of(), ReferenceWish.of(method="proper")]
    payloads = [service.plan(wish).requests[0].payload for wish in wishes]
    threads = [threading.Thread(target=service.build, args=(each,)) for each in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.version for entry in shelf.entries()] == [2, 1]


def test_plan_names_what_is_left_out(service):
    (planned,) = service.plan(ReferenceWish.of(max_images=2, min_images=2)).references
    assert planned.title == "M31, DemoInstrument, A, r"
    assert planned.images == ("night-0.fits", "night-1.fits")
    assert planned.left_out == {
        "night-2.fits": "the others tell nearly all without it",
        "night-3.fits": "the others tell nearly all without it",
        "night-4.fits": "solve_photometry: no zero point: 2 usable reference stars",
    }


@pytest.mark.parametrize(
    ("wish", "code", "found"),
    [
        ({"field": "M33"}, "reference.no_images", None),
        ({"filter": "g"}, "reference.no_images", None),
        ({"first_night": "2030-01-01"}, "reference.no_images", None),
        ({"min_images": 5}, "reference.too_few_images", "4 (night-4.fits: solve_photometry"),
        ({"max_seeing": 3.15}, "reference.too_few_images", "2 ("),
        ({"min_depth": 22.0}, "reference.too_few_images", "0 ("),
    ],
)
def test_what_cannot_be_built_is_told(service, wish, code, found):
    with pytest.raises(FirstlightError) as told:
        service.plan(ReferenceWish.of(**wish))
    assert told.value.code == code
    assert (told.value.found or "").startswith(found or "")


def test_out_of_use_and_back(service, shelf):
    make(service)
    (entry,) = shelf.entries()
    assert not shelf.set_usable(entry.short_id, False).usable
    assert [each.usable for each in shelf.entries()] == [False]
    assert shelf.set_usable(entry.id.upper(), True).usable
    # Building it again neither makes nor restores it.
    shelf.set_usable(entry.short_id[:6], False)
    assert make(service) == []
    assert not shelf.entries()[0].usable
    with pytest.raises(FirstlightError) as told:
        shelf.set_usable("0000000000000000", False)
    assert told.value.code == "reference.missing"


def test_expected_id_is_that_of_the_row(service, shelf, recipe):
    planned = service.plan(ReferenceWish.of()).references[0].reference_id
    make(service)
    assert str(planned) == shelf.entries()[0].id
    assert ReferenceBuilder(recipe, "clipped").lineage.process == "build_reference"
