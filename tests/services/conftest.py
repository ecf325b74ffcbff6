"""A workspace's tables and store, empty, in a temporary folder."""

import pytest
from arrival_workbench import any_database, bench  # noqa: F401, fixtures of the arrivals

from firstlight.models.database import Database
from firstlight.storage.folder import FolderStore


@pytest.fixture
def database(sqlite_url):
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "data")
