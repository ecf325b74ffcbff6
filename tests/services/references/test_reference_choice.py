"""Which reference an image is compared with, and why not the others."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from firstlight.algorithms.sky.projection import Projection
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.reference import Reference
from firstlight.services.references.choice import ReferenceChooser
from firstlight.services.references.settings import ReferenceChoiceSettings

SIDE = 100
MJD = 60010.0


def wcs_at(ra=40.0, dec=0.0):
    middle = (SIDE - 1) / 2
    cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) / 3600
    projection = Projection((ra, dec), (middle, middle), cd)
    return WorldCoordinates(
        cards=projection.to_header(), ra=ra, dec=dec, radius=0.5 * SIDE * np.sqrt(2) / 3600
    )


def image(**changed):
    columns = {"instrument": "Camera", "filter": "r", "mjd": MJD, "binning": "1x1"}
    return Image(nx=SIDE, ny=SIDE, section_id="A", **(columns | changed))


def reference(east=0.0, **changed):
    """One whose middle is so many pixels to the east of the image's."""
    wcs = wcs_at(ra=(40.0 + east / 3600) % 360)
    ra, dec = wcs.projection.footprint((SIDE, SIDE))
    columns = {
        "id": uuid.uuid4(), "field": "field", "version": 1, "instrument": "Camera",
        "section_id": "A", "filter": "r", "mjd_start": MJD - 9, "mjd_end": MJD - 8,
        "limiting_magnitude": 20.0, "usable": True, "radius": wcs.radius, "ra": wcs.ra,
        "dec": wcs.dec, "corners": np.column_stack([ra, dec]).tolist(),
        "measures": {"binning": "1x1"},
    }  # fmt: skip
    return Reference(**(columns | changed))


def choose(*references, **changed):
    chooser = ReferenceChooser(references, ReferenceChoiceSettings())
    return chooser.choose(image(**changed), wcs_at(), explain=True)


def test_newest_version_of_one_field():
    versions = [reference(version=number) for number in (1, 3, 2)]
    found = choose(*versions)
    assert found.reference is versions[1]
    assert found.overlap == 1.0
    against = {one.reference.version: one.against for one in found.considered}
    assert against == {3: "", 1: "version 3 is newer", 2: "version 3 is newer"}


def test_of_several_fields_the_one_that_covers_most_then_the_deepest():
    half = reference(east=30, field="beside", version=7)
    shallow, deep = reference(), reference(field="other", limiting_magnitude=21.0)
    found = choose(half, shallow, deep)
    assert found.reference is deep
    against = {one.reference.field: one.against for one in found.considered}
    assert against["field"] == "it is not as deep"
    assert against["beside"] == "it covers 69 %, less"
    assert choose(half, shallow).reference is shallow


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"usable": False}, "it was taken out of use"),
        ({"mjd_end": MJD}, "it has images of the same time or later"),
        ({"mjd_end": MJD + 3}, "it has images of the same time or later"),
        ({"mjd_end": MJD - 0.25}, "its last image is 0.25 days older, not 0.5"),
        ({"east": 60}, "it covers 38 %"),
        ({"measures": {"binning": "2x2"}}, "its pixels are binned 2x2"),
    ],
)
def test_why_not(changed, why):
    found = choose(reference(**changed))
    assert found.reference is None
    assert found.reason == found.considered[0].against == why


@pytest.mark.parametrize("changed", [{"filter": "g"}, {"filter": None}, {"instrument": "Other"}])
def test_other_cameras_and_filters_are_not_even_considered(changed):
    found = choose(reference(), **changed)
    assert found.reference is None
    assert found.reason == "no reference of this camera and filter"
    assert found.considered == ()


def test_an_image_is_not_compared_with_itself_whatever_the_settings():
    settings = ReferenceChoiceSettings(older_by_days=0.0)
    chooser = ReferenceChooser([reference(mjd_end=MJD)], settings)
    assert chooser.choose(image(), wcs_at()).reference is None
    assert chooser.choose(image(mjd=MJD + 1e-3), wcs_at()).reference is not None


def test_references_of_other_places_are_told_of_when_asked():
    far, nowhere = reference(east=3600), reference(ra=None)
    chooser = ReferenceChooser([far, nowhere], ReferenceChoiceSettings())
    for explain in (False, True):
        found = chooser.choose(image(), wcs_at(), explain=explain)
        assert found.reference is None
        assert found.reason == "no reference of this place"
        assert [one.against for one in found.considered] == 2 * explain * ["it is of another place"]
    found = choose(far, reference(version=2))
    assert found.reference.version == 2
    assert [one.against for one in found.considered] == ["", "it is of another place"]


def test_reason_is_that_of_the_reference_that_covers_most():
    found = choose(reference(east=3600), reference(east=70), reference(usable=False))
    assert found.reason == "it covers 31 %"
