"""A workspace's tables and store, empty, in a temporary folder."""

import pytest
from arrival_workbench import any_database, bench  # noqa: F401, fixtures of the arrivals

from firstlight.models.database import Database
from firstlight.storage.folder import FolderStore


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    opened.upgrade()
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "data")
