"""Which images a reference is made of, by seeing, depth and place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from firstlight.errors import InvalidInput
from firstlight.pipeline.image_stack import SolvedImage
from firstlight.services.references.selection import FieldImages, _clusters, choose_images
from firstlight.services.references.wish import ReferenceWish


def solved(name, *, fwhm=3.0, noise=30.0, zero=25.0, depth=21.0, ra=10.0, dec=0.0):
    return SolvedImage(
        SimpleNamespace(name=name),
        SimpleNamespace(),
        SimpleNamespace(fwhm=fwhm, noise=noise),
        SimpleNamespace(pixel_scale=0.5, ra=ra, dec=dec, radius=0.1),
        SimpleNamespace(zero_point=zero, limiting_magnitude=depth),
    )


def chosen(images, **wished):
    there = FieldImages("field", "Camera", "A", "r", images)
    choose_images(there, ReferenceWish(**wished))
    return [each.name for each in there.chosen], there.left_out


def test_best_first_by_seeing_noise_and_transparency():
    images = [
        solved("wide", fwhm=4.0),
        solved("best"),
        solved("noisy", noise=40.0),
        solved("cloudy", zero=24.2),
    ]
    names, left_out = chosen(images, max_images=3)
    assert names == ["best", "wide", "noisy"]
    assert left_out == {"cloudy": "the others tell nearly all without it"}


def test_limits_of_seeing_and_depth_name_what_they_leave_out():
    images = [
        solved("sharp"),
        solved("wide", fwhm=5.0),
        solved("shallow", depth=19.5),
        solved("unknown", depth=None),
        solved("starless", fwhm=None),
    ]
    names, left_out = chosen(images, max_seeing=2.0, min_depth=20.0, min_images=1)
    assert names == ["sharp"]
    assert left_out == {
        "wide": 'seeing 2.50" is worse than 2"',
        "shallow": "depth 19.50, not 20",
        "unknown": "depth unknown, not 20",
        "starless": "its seeing is not known",
    }


def test_as_many_as_are_wanted_at_least_even_if_they_tell_little():
    images = [solved("best"), *(solved(f"poor {n}", noise=400.0) for n in range(3))]
    assert chosen(images, min_images=1)[0] == ["best"]
    assert len(chosen(images, min_images=3)[0]) == 3


def test_one_target_at_several_places_is_several_fields():
    images = [solved("a"), solved("b", ra=10.04), solved("c", ra=359.99), solved("d", ra=0.01)]
    assert [[each.name for each in one] for one in _clusters(images)] == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    "wished",
    [
        {"min_images": 5, "max_images": 4},
        {"first_night": "2026-02-01", "last_night": "2026-01-01"},
        {"method": "best"},
        {"max_images": 100},
        {"max_seeing": 0},
    ],
)
def test_wishes_that_cannot_be_are_refused(wished):
    with pytest.raises(InvalidInput) as told:
        ReferenceWish.of(**wished)
    assert told.value.field in wished
    assert str(wished[told.value.field]) == str(told.value.found)
