"""Analysis services on both databases."""

import pytest
from analysis_world import AnalysisWorld

from firstlight.models.database import Database


@pytest.fixture
def analysis_world(database, tmp_path):
    return AnalysisWorld(database, tmp_path)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_world(request, tmp_path):
    """The same on both databases."""
    if request.param == "sqlite":
        yield request.getfixturevalue("analysis_world")
        return
    opened = Database(request.getfixturevalue("postgres_url"))
    opened.upgrade()
    yield AnalysisWorld(opened, tmp_path)
    opened.dispose()
