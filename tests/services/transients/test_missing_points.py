"""Each image that covers an object has its point, or the reason is told."""

import numpy as np
import pytest
from sqlalchemy import delete, update
from test_forced_photometry import add, planes, service, survey, work  # noqa: F401, fixtures

from firstlight.models import Object, Reference, StepRun
from firstlight.models.image import ImageInput
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.services.transients.forced_photometry import NoSuchObject
from firstlight.services.transients.missing_points import (
    NO_REFERENCE,
    NO_ZERO_POINT,
    NOT_FOLLOWED,
    NOTHING_KNOWN,
    WAITS,
    MissingPoints,
)

DAY = 60_000.0


def account(survey, ident, sites=None, **choice):  # noqa: F811, the fixture's survey
    with survey.database.reading() as session:
        name = session.get_one(Object, ident).name
    told = MissingPoints(database=survey.database, choice=ReferenceChoiceSettings(**choice)).of(
        name, sites
    )
    reasons = {each.reason: each.images for each in told.missing}
    assert sum(reasons.values()) == told.images - told.points
    return told.images, told.points, reasons


def run_ended(survey, section, step, **columns):  # noqa: F811, likewise
    """Say how a step ended; without words that it was not gone through."""
    of_it = StepRun.exposure_id == section.exposure.id, StepRun.step == step
    with survey.database.begin() as session:
        if columns:
            session.execute(update(StepRun).where(*of_it).values(**columns))
        else:
            session.execute(delete(StepRun).where(*of_it))


@pytest.fixture
def shown(survey):  # noqa: F811, likewise
    """The reference of the survey has a place: that of all images; it ends before them."""
    ra, dec = survey.projection().footprint(survey.shape)
    with survey.database.begin() as session:
        row = session.get_one(Reference, survey.reference)
        row.ra, row.dec, row.filter, row.radius = *survey.centre, "r", 0.05
        row.corners = np.column_stack([ra, dec]).tolist()
        row.mjd_start, row.mjd_end = DAY - 9, DAY - 8
    return survey


def reference(survey, **columns):  # noqa: F811, likewise
    with survey.database.begin() as session:
        session.execute(update(Reference).where(Reference.id == survey.reference).values(**columns))


def test_points_and_what_waits(shown, service):  # noqa: F811, likewise
    for day in range(3):
        shown.section(DAY + day, planes=planes(unknown=[(30, 40)] if day == 1 else []))
    (here, there) = add(shown, (40, 30), (10, 10))
    assert account(shown, here) == (3, 0, {WAITS: 3})
    work(service)
    assert account(shown, there) == (3, 3, {})
    assert account(shown, here) == (3, 2, {NOTHING_KNOWN: 1})


def test_an_image_that_does_not_reach_it_is_not_counted(shown):
    shown.section(DAY, planes=planes())
    shown.section(DAY + 1, planes=planes(), shift=(200.0, 0.0))
    (ident,) = add(shown, (5, 5))
    assert account(shown, ident)[0] == 1


def test_one_that_nobody_follows(shown):
    shown.section(DAY, planes=planes())
    (ident,) = add(shown, (40, 30), followed=False)
    assert account(shown, ident) == (1, 0, {NOT_FOLLOWED: 1})
    with pytest.raises(NoSuchObject):
        MissingPoints(database=shown.database, choice=ReferenceChoiceSettings()).of("nothing")


def test_steps_that_failed_are_named(shown):
    bad, dim = (shown.section(DAY + n, planes=planes()) for n in range(2))
    (ident,) = add(shown, (40, 30))
    run_ended(shown, bad, "subtract", state="failed", error={"message": "no overlap"})
    run_ended(shown, dim, "solve_photometry", state="failed", error={"message": "no stars"})
    found = {"subtract failed: no overlap": 1, NO_ZERO_POINT: 1}
    assert account(shown, ident) == (2, 0, found)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"usable": False}, "it was taken out of use"),
        ({"mjd_end": DAY - 0.1}, "it is hardly older"),
        ({"mjd_end": DAY + 0.1}, "its images are neither all older nor all later"),
        ({"mjd_start": DAY + 3, "mjd_end": DAY + 4}, "it is later than the image"),
        ({"filter": "g"}, "no reference of this camera and filter"),
        ({"ra": 10.0}, "no reference of this place"),
    ],
)
def test_why_there_is_nothing_to_compare_with(shown, columns, why):
    section = shown.section(DAY, planes=planes())
    run_ended(shown, section, "subtract")
    (ident,) = add(shown, (40, 30))
    assert account(shown, ident) == (1, 0, {WAITS: 1})
    reference(shown, **columns)
    told = account(shown, ident, allow_later=False)
    assert told == (1, 0, {f"{NO_REFERENCE}: {why}": 1})


def test_images_that_the_reference_is_made_of_are_told(shown):
    section = shown.section(DAY - 8.5, planes=planes())
    run_ended(shown, section, "subtract")
    (ident,) = add(shown, (40, 30))
    around = f"{NO_REFERENCE}: its images are neither all older nor all later"
    assert account(shown, ident) == (1, 0, {around: 1})
    with shown.database.begin() as session:
        image_id = session.get_one(Reference, shown.reference).image_id
        link = ImageInput(
            image_id=image_id, role="coadd", number=0, input_image_id=section.image.id
        )
        session.add(link)
    part = f"{NO_REFERENCE}: the image is part of it"
    assert account(shown, ident) == (1, 0, {part: 1})


def test_a_viewer_is_told_of_sites_that_they_may_see(shown):
    for site in ("aro", "sro", None):
        shown.section(DAY, planes=planes(), site=site)
    (ident,) = add(shown, (40, 30))
    assert account(shown, ident)[0] == 3
    assert account(shown, ident, {"aro"})[0] == 1
    assert account(shown, ident, ())[0] == 0
