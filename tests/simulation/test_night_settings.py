"""Nonsense is refused with the name of the setting; sense survives JSON."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import BadSettings
from firstlight.simulation import DetectorSettings, NightSettings, SkySettings, StarSettings

ANYTHING = st.one_of(
    st.floats(), st.integers(-(10**6), 10**6), st.text(max_size=3), st.none(), st.booleans()
)

# A group that is no mapping is refused by its own class, as a whole.
GROUPS = {"detector": ("",), "sky": ("",), "stars": ("",)}


@pytest.mark.parametrize("kind", [NightSettings, DetectorSettings, SkySettings, StarSettings])
@given(data=st.data())
def test_any_value_is_taken_or_refused_by_name(kind, data):
    name = data.draw(st.sampled_from(sorted(kind.model_fields)))
    value = data.draw(ANYTHING)
    try:
        # With a cadence of a day no exposure time contradicts it.
        room = {"cadence": 86400.0} if kind is NightSettings else {}
        settings = kind(**{**room, name: value})
    except BadSettings as refusal:
        named = (refusal.field or "").split(".")[0]
        assert named in (name, *GROUPS.get(name, ()))
        assert refusal.code == "settings.bad"  # noqa: PT017, likewise
    else:
        assert kind.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"dec": 91}, "dec"),
        ({"ra": float("nan")}, "ra"),
        ({"n_exposures": 0}, "n_exposures"),
        ({"exposure_time": -1}, "exposure_time"),
        ({"exposure_time": 400, "cadence": 300}, "cadence"),
        ({"start": datetime(2024, 10, 24)}, "start"),  # noqa: DTZ001, that it is naive is the point
        ({"night": date(2060, 1, 1)}, "night"),
        ({"with_faults": True, "n_exposures": 2}, "n_exposures"),
        ({"detector": {"gain": (0, 1)}}, "gain.0"),
        ({"detector": {"read_noise": (0.0, 5.0)}}, "read_noise.0"),
        ({"sky": {"fwhm": (3.0, 2.0)}}, "fwhm"),
        ({"sky": {"fwhm": (0.5, 2.0)}}, "fwhm.0"),
    ],
)
def test_refusal_names_the_setting(values, field):
    with pytest.raises(BadSettings) as refusal:
        NightSettings(**values)
    assert refusal.value.field == field
    assert refusal.value.expected


def test_unknown_setting_names_the_nearest():
    with pytest.raises(BadSettings, match="exposure_time"):
        NightSettings(exposure_tme=3)
    with pytest.raises(BadSettings, match="read_noise"):
        NightSettings(detector={"readnoise": (3, 3)})


def test_duration_and_start():
    start = datetime(2024, 10, 24, 5, tzinfo=UTC)
    settings = NightSettings(n_exposures=11, cadence=60, exposure_time=30, start=start)
    assert settings.duration == pytest.approx(630 / 86400)
    assert settings.start_utc == start
