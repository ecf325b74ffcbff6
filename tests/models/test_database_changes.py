"""A database that tells cheaply whether anything was written."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from firstlight.models.database import Database


def test_the_number_moves_with_what_is_written_and_with_nothing_else(tmp_path: Path):
    mine, other = (Database(f"sqlite:///{tmp_path / 'x.sqlite'}") for _ in range(2))
    with mine.begin() as session:
        session.execute(text("CREATE TABLE t (a INTEGER)"))
    before = mine.changes()
    with mine.reading() as session:
        session.execute(text("SELECT * FROM t")).all()
    assert mine.changes() == before
    with mine.begin() as session:
        session.execute(text("INSERT INTO t VALUES (1)"))
    after = mine.changes()
    assert after != before
    with other.begin() as session:
        session.execute(text("INSERT INTO t VALUES (2)"))
    assert mine.changes() not in {after, None}


def test_a_database_that_is_away_tells_nothing(tmp_path: Path):
    assert Database(f"sqlite:///{tmp_path / 'no' / 'folder.sqlite'}").changes() is None
