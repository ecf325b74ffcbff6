"""Reports say what an image is worth; what is wrong with its inputs is wrong with it."""

import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "web"))
from archived import archive
from measured import measure
from reduced import reduce
from sqlalchemy import select

from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput
from firstlight.formats.fits_image import Planes
from firstlight.models.database import Database
from firstlight.models.image import Image, ImageInput
from firstlight.models.quality import Badness, QualityReport
from firstlight.pipeline.step import Workpiece
from firstlight.services.access import operator
from firstlight.services.quality.badness import badness_of, words_of
from firstlight.services.quality.quality import QualityMissing, QualityService
from firstlight.services.quality.reports import PixelFacts, QualityReporter, pixel_facts
from firstlight.services.quality.settings import QualitySettings
from firstlight.storage.folder import FolderStore

GOOD = PixelFacts(expected_noise=5.0, saturated=0.001, unusable=0.01)
SETTINGS = QualitySettings(min_sources=2)


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'quality.sqlite'}")
    opened.upgrade()
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "data")


def report(database, exposure, rows, facts=GOOD, **changed):
    piece = Workpiece(
        exposure, "0", image=rows["preprocess"], sources=rows["find_sources"],
        wcs=rows["solve_astrometry"], zero_point=rows["solve_photometry"],
    )  # fmt: skip
    for name, value in changed.items():
        setattr(piece, name, value)
    with database.begin() as session:
        QualityReporter(SETTINGS)(session, piece, facts)
    return piece


@pytest.fixture
def night(database, store):
    """Ten exposures; the last one is through clouds, with a bright sky."""
    made = []
    for number in range(1, 11):
        exposure = archive(database, store, number, site="sro", minute=number)
        rows = reduce(database, store, exposure)
        if number == 10:
            with database.begin() as session:
                session.merge(rows["solve_photometry"]).zero_point -= 1.0
                session.merge(rows["find_sources"]).background *= 10.0
                session.flush()
            rows["solve_photometry"].zero_point -= 1.0
            rows["find_sources"].background *= 10.0
        for row in ("preprocess",):
            rows[row].exp_time = 60.0
            with database.begin() as session:
                session.get_one(Image, rows[row].id).exp_time = 60.0
        report(database, exposure, rows)
        made.append((exposure, rows))
    return made


def service(database):
    return QualityService(database=database, settings=SETTINGS)


def test_numbers_are_those_of_the_products(database, night):
    page = service(database).page(operator(), limit=4)
    assert page.next_skip == 4
    _, rows = night[-2]
    told = page.images[1]
    zero, sources, wcs = (
        rows[name] for name in ("solve_photometry", "find_sources", "solve_astrometry")
    )
    assert told.zero_point == zero.zero_point
    assert told.limiting_magnitude == zero.limiting_magnitude
    assert told.seeing == pytest.approx(sources.fwhm * wcs.pixel_scale)
    assert told.noise_ratio == pytest.approx(sources.noise / 5.0)
    assert told.details["rms_pixels"] == wcs.rms_pixels
    assert told.n_candidates is None
    assert told.badness == []


def test_sections_of_an_exposure_are_told_in_their_order(database, store):
    exposure = archive(database, store, 1, site="sro")
    for section in ("S3", "S1", "S4", "S2"):
        rows = reduce(database, store, exposure, section=section)
        piece = Workpiece(
            exposure, section, image=rows["preprocess"], sources=rows["find_sources"],
            wcs=rows["solve_astrometry"], zero_point=rows["solve_photometry"],
        )  # fmt: skip
        with database.begin() as session:
            QualityReporter(SETTINGS)(session, piece, GOOD)
    told = service(database).page(operator()).images
    assert [each.section_id for each in told] == ["S1", "S2", "S3", "S4"]


def test_what_is_far_from_its_camera_s_usual_is_told(database, night):
    images = service(database).page(operator()).images
    assert images[0].badness == ["clouds", "bright sky"]
    assert all(each.badness == [] for each in images[1:])


def test_bad_numbers_are_told(database, store):
    exposure = archive(database, store, 1)
    rows = reduce(database, store, exposure)
    rows["find_sources"].elongation = 2.0
    report(database, exposure, rows, PixelFacts(1.0, 0.2, 0.3), zero_point=None)
    (told,) = service(database).page(operator()).images
    assert told.badness == ["tracking", "noise", "photometry", "saturation"]


def test_a_report_is_renewed_and_keeps_what_the_pixels_told(database, store):
    exposure = archive(database, store, 1)
    rows = reduce(database, store, exposure)
    report(database, exposure, rows, zero_point=None)
    report(database, exposure, rows, facts=None)
    (told,) = service(database).page(operator()).images
    assert told.badness == []
    assert told.noise_ratio == pytest.approx(rows["find_sources"].noise / 5.0)


def test_a_mark_on_an_exposure_is_on_all_that_is_made_of_it(database, store, night):
    exposure, rows = night[0]
    measure(database, store, exposure, rows, names=("FL26aaa",))
    with database.begin() as session:
        difference = session.scalars(select(Image).where(Image.kind == "difference")).one()
        columns = {c.name: getattr(difference, c.name) for c in Image.__table__.columns}
        coadd = Image(**columns | {
            "id": uuid.uuid4(), "kind": "reference", "exposure_id": None, "filename": "coadd.fits",
        })  # fmt: skip
        coadd.inputs = [
            ImageInput(role="image", number=n, input_image_id=other["preprocess"].id)
            for n, (_, other) in enumerate(night[:3])
        ]
        session.add(coadd)
        difference.inputs = [
            ImageInput(role="new", number=0, input_image_id=night[5][1]["preprocess"].id),
            ImageInput(role="reference", number=0, input_image_id=coadd.id),
        ]
    marked = night[1][0]
    count = service(database).mark(operator(), str(marked.id), ["Hardware"], note="shutter stuck")
    assert count == 1
    with database.reading() as session:
        bits = badness_of(session, [coadd.id, difference.id, night[4][1]["preprocess"].id])
    assert bits[coadd.id] == Badness.HARDWARE
    assert bits[difference.id] == Badness.HARDWARE
    assert bits[night[4][1]["preprocess"].id] == 0
    (told,) = service(database).page(operator(), bad=True).images
    assert told.badness == ["hardware"]
    assert told.marks[0]["note"] == "shutter stuck"
    service(database).mark(operator(), marked.base_filename, [])
    assert service(database).page(operator(), bad=True).images == []


def test_what_cannot_be_marked_is_named(database, night):
    with pytest.raises(InvalidInput) as fault:
        service(database).mark(operator(), str(night[0][0].id), ["ugly"])
    assert "clouds" in str(fault.value.expected)
    with pytest.raises(QualityMissing):
        service(database).mark(operator(), "no-such-exposure", ["clouds"])


def test_pixels_tell_noise_and_saturation():
    shape = (210, 100)
    flags = np.zeros(shape, np.uint16)
    flags[:21] = Flag.SATURATED
    weight = np.full(shape, 1 / 16.0, np.float32)
    weight[:, :10] = 0.0
    image = Image(kind="science")
    image.planes = Planes(np.zeros(shape, np.float32), weight, flags, {})
    facts = pixel_facts(image)
    assert facts.expected_noise == pytest.approx(4.0)
    assert facts.saturated == pytest.approx(0.1)
    assert facts.unusable == pytest.approx(0.19)


def test_bits_in_words():
    assert words_of(Badness.CLOUDS | Badness.BRIGHT_SKY) == ["clouds", "bright sky"]
    assert words_of(0) == []


def test_one_row_an_image(database, night):
    with database.reading() as session:
        assert len(session.scalars(select(QualityReport)).all()) == 10
