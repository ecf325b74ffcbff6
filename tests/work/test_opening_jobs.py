from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from firstlight.work.dbos_store import JobsUnreachable, open_database


def url_of(path: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(path))


def test_a_new_file_may_be_in_use_by_others_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")  # for this lock SQLite does not wait by itself
        moment = threading.Timer(0.3, other.execute, ["COMMIT"])
        moment.start()
        engine = open_database(url_of(path))
        moment.join()
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()


def test_a_file_that_cannot_be_opened_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(JobsUnreachable, match="unable to open"):
        open_database(url_of(tmp_path / "no folder" / "jobs.sqlite"))
