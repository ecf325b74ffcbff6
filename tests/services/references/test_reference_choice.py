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
AROUND = "its images are neither all older nor all later"


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


def later(**changed):
    return reference(**({"mjd_start": MJD + 1, "mjd_end": MJD + 2} | changed))


def choose(*references, settings=None, **changed):
    chooser = ReferenceChooser(references, settings or ReferenceChoiceSettings())
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
        ({"mjd_end": MJD}, AROUND),
        ({"mjd_end": MJD + 3}, AROUND),
        ({"mjd_start": MJD, "mjd_end": MJD + 3}, AROUND),
        ({"mjd_end": MJD - 0.25}, "its last image is 0.25 days older, not 0.5"),
        (
            {"mjd_start": MJD + 0.25, "mjd_end": MJD + 3},
            "its first image is 0.25 days later, not 0.5",
        ),
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
    chooser = ReferenceChooser([reference(mjd_start=MJD, mjd_end=MJD + 1)], settings)
    assert chooser.choose(image(), wcs_at()).reference is None


def test_where_no_older_one_serves_the_newest_of_the_later_ones_does():
    first, second = later(), later(version=2, mjd_start=MJD + 9, mjd_end=MJD + 10)
    found = choose(first, second, later(version=3, usable=False), reference(east=60))
    assert (found.reference, found.is_later) == (second, True)
    assert found.reason == "version 2 of field, later than the image"
    assert [one.against for one in found.considered] == [
        "", "version 2 is newer", "it was taken out of use", "it covers 38 %",
    ]  # fmt: skip


def test_an_older_one_goes_before_all_later_ones_whatever_these_cover():
    old = reference(east=30)
    found = choose(later(version=5), later(field="other", limiting_magnitude=30.0), old)
    assert (found.reference, found.is_later) == (old, False)
    assert found.reason == "version 1 of field"
    against = {one.against for one in found.considered[1:]}
    assert against == {"it is later than the image, and there is an older one"}


def test_later_ones_can_be_forbidden():
    settings = ReferenceChoiceSettings(allow_later=False)
    found = choose(later(), settings=settings)
    assert (found.reference, found.reason) == (None, "it is later than the image")
    assert choose(later(), reference(), settings=settings).reason == "version 1 of field"


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_does_not_depend_on_the_order_of_references(seed):
    dice = np.random.default_rng(seed)
    there = [
        reference(
            field=f"field {n % 3}", version=n // 3 + 1, mjd_start=start, mjd_end=start + 1.0,
            east=float(dice.choice([0, 20, 60])), limiting_magnitude=20.0 + n % 2,
        )
        for n, start in enumerate(dice.uniform(MJD - 2, MJD + 6, 12))
    ]  # fmt: skip
    wanted = choose(*there)
    for _ in range(10):
        dice.shuffle(there)
        found = choose(*there)
        assert (found.reference, found.reason) == (wanted.reference, wanted.reason)
        assert {(one.reference.id, one.against) for one in found.considered} == {
            (one.reference.id, one.against) for one in wanted.considered
        }


def test_reasons_can_be_counted():
    shorts = [choose(reference(mjd_end=MJD - gap)).in_short for gap in (0.1, 0.3)]
    shorts += [choose(reference(east=east)).in_short for east in (50, 60)]
    assert shorts == ["it is hardly older"] * 2 + ["it covers too little"] * 2


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


@pytest.mark.parametrize("order", [1, -1])
def test_that_an_image_is_part_of_a_reference_is_told_before_other_times(order):
    mine = image(exposure_id=uuid.uuid4())
    around = {"mjd_start": MJD - 0.1, "mjd_end": MJD + 0.1}
    made_of_it, beside_it = reference(**around), reference(section_id="B", **around)
    parts = {made_of_it.id: {(mine.exposure_id, "A")}}
    chooser = ReferenceChooser([made_of_it, beside_it][::order], ReferenceChoiceSettings(), parts)
    assert chooser.choose(mine, wcs_at()).reason == "the image is part of it"


def test_reason_is_that_of_the_reference_that_covers_most():
    found = choose(reference(east=3600), reference(east=70), reference(usable=False))
    assert found.reason == "it covers 31 %"
