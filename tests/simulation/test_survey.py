"""A simulated survey is what its truth says, byte for byte the same each time."""

from __future__ import annotations

import hashlib

import pytest
from survey_world import tiny

from firstlight.simulation.survey import SurveyThere, simulate_survey


def checksums(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "settings.toml"
    }


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return simulate_survey(tiny(), tmp_path_factory.mktemp("survey"))


def test_same_settings_same_bytes_other_seed_other_bytes(survey, tmp_path):
    again = simulate_survey(tiny(), tmp_path / "again")
    assert checksums(again.folder) == checksums(survey.folder)
    other = simulate_survey(tiny(seed=2), tmp_path / "other")
    mine, its = checksums(survey.folder), checksums(other.folder)
    raw = [path for path in mine if path.suffix == ".fits"]
    assert len(raw) == len(survey.files) == 2 * (3 + 3 + 2)
    assert all(mine[path] != its[path] for path in raw)
    with pytest.raises(SurveyThere):
        simulate_survey(tiny(seed=2), survey.folder)
