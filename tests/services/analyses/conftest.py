"""Analysis services, and the way of their runs, on both databases."""

import pytest
from analysis_world import AnalysisWorld
from delivery_world import DeliveryWorld

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


@pytest.fixture
def world_class():
    """What a `world` is; modules may have one of their own."""
    return DeliveryWorld


@pytest.fixture
def world(world_class, database, tmp_path):
    """Runs and their way to a service, on SQLite."""
    made = world_class(database, tmp_path)
    yield made
    made.queue.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world_anywhere(request, world_class, tmp_path):
    """The same on both databases."""
    if request.param == "sqlite":
        yield request.getfixturevalue("world")
        return
    opened = Database(request.getfixturevalue("postgres_url"))
    made = world_class(opened, tmp_path)
    yield made
    made.queue.close()
    opened.dispose()
