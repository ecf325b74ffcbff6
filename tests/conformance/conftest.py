"""Databases that answer alike."""

import pytest

from firstlight.models.database import Database


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """Of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    return request.getfixturevalue("empty_postgres_url")


@pytest.fixture
def database(url):
    """One with the tables of the models."""
    opened = Database(url)
    opened.upgrade()
    yield opened
    opened.dispose()
