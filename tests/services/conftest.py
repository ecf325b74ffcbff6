"""A workspace's tables and store, empty, in a temporary folder."""

import pytest

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
