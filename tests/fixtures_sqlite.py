"""An SQLite file with all tables, made once: fixtures `sqlite_tables` and `sqlite_url`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from firstlight.models.database import Database


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and no rows, to be copied: to make them takes longer than a test."""
    path = tmp_path_factory.mktemp("tables") / "empty.sqlite"
    opened = Database(f"sqlite:///{path}")
    opened.upgrade()
    opened.dispose()  # the last one to close an SQLite file leaves it complete
    return path


@pytest.fixture
def sqlite_url(sqlite_tables: Path, tmp_path: Path) -> str:
    """The URL of a new file with all tables and no rows, of this test alone."""
    path = tmp_path / "test.sqlite"
    shutil.copyfile(sqlite_tables, path)
    return f"sqlite:///{path}"
