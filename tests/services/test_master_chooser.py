"""Which master a section gets, and the reason in words."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.models import Image, ImageKind
from firstlight.services.calibration import MasterChooser
from firstlight.services.settings import CalibrationSettings


class Frame:
    """As much of an exposure as a choice looks at."""

    instrument = "Cam"
    binning = "1x1"
    filter = "V"
    temperature: float | None = -20.0
    mjd: float | None = 60_000.0

    def __init__(self, **facts: object) -> None:
        vars(self).update(facts)


def _master(kind: ImageKind = ImageKind.MASTER_DARK, number: int = 1, **facts: object) -> Image:
    columns: dict[str, object] = {
        "instrument": "Cam",
        "section_id": "0",
        "binning": "1x1",
        "filter": None,
        "temperature": -20.0,
        "mjd": 60_000.0,
        "calibration": {},
    }
    return Image(id=uuid.UUID(int=number), kind=kind.value, **columns | facts)


def _choose(masters, frame=None, role="dark", **settings):
    chooser = MasterChooser(masters, CalibrationSettings(**settings))
    choice = chooser.choose(frame or Frame(), "0", (role,))
    return choice.images.get(role), choice.reasons[role]


def test_there_is_none():
    assert _choose([]) == (None, "no master dark for this section and binning")


@pytest.mark.parametrize(
    "other", [{"instrument": "Other"}, {"section_id": "1"}, {"binning": "2x2"}], ids=str
)
def test_another_detector_is_no_choice(other):
    assert _choose([_master(**other)]) == (None, "no master dark for this section and binning")


def test_one_kind_does_not_stand_for_another():
    assert _choose([_master(ImageKind.MASTER_BIAS)])[0] is None
    assert _choose([_master(ImageKind.MASTER_BIAS)], role="bias")[0] is not None


def test_the_nearest_in_time():
    masters = [_master(number=n, mjd=60_000.0 + away) for n, away in enumerate((-3.0, 1.5, 2.0))]
    chosen, reason = _choose(masters)
    assert chosen is masters[1]
    assert reason == "nearest of 3, 1.50 days away"


def test_too_old():
    masters = [_master(mjd=60_041.2)]
    assert _choose(masters) == (None, "the nearest master dark is 41 days away")
    assert _choose(masters, max_age_days=42.0)[0] is masters[0]


def test_too_warm():
    masters = [_master(temperature=-17.9)]
    chosen, reason = _choose(masters)
    assert chosen is None
    assert reason == "no master dark within 2 K of -20 °C"
    assert _choose(masters, temperature_tolerance=2.2)[0] is masters[0]


@pytest.mark.parametrize(("ours", "theirs"), [(None, -20.0), (-20.0, None), (None, None)])
def test_an_unknown_temperature_is_no_obstacle(ours, theirs):
    assert _choose([_master(temperature=theirs)], Frame(temperature=ours))[0] is not None


def test_a_flat_is_of_the_same_filter():
    masters = [_master(ImageKind.MASTER_FLAT, filter="B")]
    assert _choose(masters, role="flat") == (None, "no master flat in filter V")
    assert _choose(masters, Frame(filter="B"), role="flat")[0] is masters[0]


def test_a_dark_is_of_any_filter():
    assert _choose([_master(filter="B")])[0] is not None


def test_a_dark_stands_before_a_static_level():
    masters = [_master(), _master(ImageKind.STATIC_LEVEL, number=2)]
    chooser = MasterChooser(masters, CalibrationSettings())
    choice = chooser.choose(Frame(), "0")
    assert set(choice.images) == {"dark"}
    assert choice.reasons["static_level"] == "there is a master dark"
    choice = MasterChooser(masters[1:], CalibrationSettings()).choose(Frame(), "0")
    assert set(choice.images) == {"static_level"}


def test_a_static_level_minds_no_temperature():
    masters = [_master(ImageKind.STATIC_LEVEL, temperature=5.0)]
    assert _choose(masters, role="static_level")[0] is masters[0]


def test_what_came_to_nothing_is_not_chosen_and_says_why():
    why = "the field does not drift enough"
    nothing = _master(
        ImageKind.STATIC_LEVEL, calibration={"usable": {"done": False, "why": why}}, mjd=60_000.0
    )
    assert _choose([nothing], role="static_level") == (None, why)
    other = _master(ImageKind.STATIC_LEVEL, number=2, mjd=60_005.0)
    assert _choose([nothing, other], role="static_level")[0] is other


def test_every_role_has_a_reason_that_goes_to_the_recipe():
    calibrations = MasterChooser([_master()], CalibrationSettings()).calibrations(Frame(), "0")
    made, taken = {"bias", "dark", "flat", "static_level"}, {"illumination", "fringe", "bad_pixels"}
    assert set(calibrations.reasons) == made | taken
    assert set(calibrations.masters) == {"dark"}


@given(
    days=st.lists(st.integers(-60, 60), min_size=1, max_size=8, unique=True),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_order_of_the_masters_does_not_matter(days, shuffle):
    masters = [_master(number=n, mjd=60_000.0 + day) for n, day in enumerate(days)]
    first, reason = _choose(masters)
    shuffle.shuffle(masters)
    assert _choose(masters) == (first, reason)
    nearest = min(abs(day) for day in days)
    if nearest > 30:
        assert first is None
    else:
        assert abs(first.mjd - 60_000.0) == nearest
