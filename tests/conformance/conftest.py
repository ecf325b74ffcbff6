"""Databases that answer alike."""

import pytest

from firstlight.models.database import Database


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def url(kind, request, tmp_path):
    """Of a database without tables."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    return request.getfixturevalue("empty_postgres_url")


@pytest.fixture
def database(kind, request):
    """One with the tables of the models."""
    opened = Database(request.getfixturevalue(f"{kind}_url"))
    yield opened
    opened.dispose()
