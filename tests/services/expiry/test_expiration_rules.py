"""Which rule wins, and how ages are written."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firstlight.services.expiry.expiration_rules import (
    ExpirationRules,
    ExpirationSettings,
    age_in_words,
    parse_age,
)

ARRIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _age(settings=None, **thing):
    """Age at which a thing is removed; None for never."""
    rules = ExpirationRules(settings or ExpirationSettings())
    facts = {"data_type": None, "site": None, "collection": "data", "name": "x", **thing}
    moment = rules.expires_at(**facts, arrived=ARRIVED)
    return None if moment is None else moment - ARRIVED


def _settings(*rules, **more):
    return ExpirationSettings(rules=rules, **more)


@pytest.mark.parametrize(
    ("thing", "age"),
    [
        ({"data_type": "EP", "site": "sro"}, timedelta(days=7)),
        ({"data_type": "EF", "site": "sro"}, timedelta(days=1)),
        ({"data_type": "EP", "site": "tst"}, timedelta(seconds=300)),
        ({"data_type": "EF", "site": "tst"}, timedelta(seconds=300)),
        ({"data_type": "EP", "site": "tst", "collection": "allsky"}, timedelta(seconds=300)),
        ({"data_type": "EX", "site": "tst"}, None),  # science data stay at every site
        ({"data_type": "EX", "site": "sro"}, None),
        ({"data_type": "e", "site": "sro"}, None),
        ({"data_type": "ep", "site": "sro"}, None),  # letters keep their case
        ({"data_type": "invalid", "site": "sro"}, None),
        ({}, None),
        ({"data_type": "EX", "site": "sro", "collection": "info-images"}, timedelta(hours=48)),
        ({"data_type": "EP", "site": "tst", "collection": "info-images"}, timedelta(hours=48)),
    ],
)
def test_the_rules_that_are_always_there(thing, age):
    assert _age(**thing) == age


def test_the_rule_that_names_most_wins_wherever_it_stands():
    rules = [
        {"site": "sro", "data_type": "EX", "after": "3h"},
        {"site": "sro", "after": "2h"},
        {"after": "1h"},
        {"site": "sro", "data_type": "EX", "prefix": "sro-kb", "after": "4h"},
    ]
    for order in (rules, rules[::-1]):
        settings = _settings(*order, default_rules=False)
        assert _age(settings, site="mrc") == timedelta(hours=1)
        assert _age(settings, site="sro") == timedelta(hours=2)
        assert _age(settings, site="sro", data_type="EX") == timedelta(hours=3)
        assert _age(settings, site="sro", data_type="EX", name="sro-kb1") == timedelta(hours=4)


def test_among_equals_the_longer_prefix_then_the_later_rule_wins():
    longer = {"prefix": "sro-kb001", "after": "1h"}
    shorter = {"prefix": "sro", "after": "2h"}
    for order in ((longer, shorter), (shorter, longer)):
        assert _age(_settings(*order), name="sro-kb001ms-1") == timedelta(hours=1)
    assert _age(_settings({"site": "a", "after": 1}, {"site": "a", "after": 2}), site="a") == (
        timedelta(seconds=2)
    )


def test_a_rule_of_the_settings_goes_before_one_that_is_always_there():
    settings = _settings({"data_type": "EP", "after": "never"})
    assert _age(settings, data_type="EP", site="sro") is None
    assert _age(settings, data_type="EP", site="tst") == timedelta(seconds=300)  # names more
    assert _age(settings, data_type="EF", site="sro") == timedelta(days=1)
    assert _age(ExpirationSettings(default_rules=False), data_type="EP") is None


def test_a_rule_without_a_collection_is_not_for_info_images():
    settings = _settings({"site": "sro", "after": "1h"})
    assert _age(settings, site="sro", collection="allsky") == timedelta(hours=1)
    assert _age(settings, site="sro", collection="info-images") == timedelta(hours=48)
    named = _settings({"site": "sro", "collection": "info-images", "after": "1h"})
    assert _age(named, site="sro", collection="info-images") == timedelta(hours=1)
    assert _age(named, site="sro", collection="data") is None


def test_the_reason_is_told_in_words():
    rules = ExpirationRules(ExpirationSettings())
    facts = {"collection": "data", "name": "x"}
    told = rules.reason(data_type="EF", site="tst", **facts)
    assert told == "data type EF, site tst: 5m"
    assert rules.reason(data_type="EX", site="tst", **facts) == "no rule: never"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("7d", timedelta(days=7)),
        (" 48H ", timedelta(hours=48)),
        ("300s", timedelta(seconds=300)),
        ("300", timedelta(seconds=300)),
        (300, timedelta(seconds=300)),
        (0.5, timedelta(seconds=0.5)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("never", None),
        (None, None),
    ],
)
def test_ages(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize(
    "text", ["", "7 years", "-1", -1, True, float("nan"), 1e300, "1e3", "٧d", [7], "999999999999w"]
)
def test_what_is_no_age(text):
    with pytest.raises(ValueError, match="an age is"):
        parse_age(text)


@given(st.integers(0, 10**9))
def test_an_age_in_words_is_read_back(seconds):
    age = timedelta(seconds=seconds)
    assert parse_age(age_in_words(age)) == age


def test_unknown_keys_and_values_are_refused():
    for wrong in ({"after": "soon"}, {"afer": "1d"}, {"collection": "raw", "after": 1}, {}):
        with pytest.raises(ValidationError):
            _settings(wrong)
