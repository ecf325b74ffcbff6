"""Accounts in a database of their own, of either kind."""

import pytest
from account_world import World

from firstlight.models.database import Database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    opened = Database(request.getfixturevalue(f"{request.param}_url"))
    yield opened
    opened.dispose()


@pytest.fixture
def world(database):
    return World(database)
