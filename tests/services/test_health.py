"""What the doctor finds."""

import shutil
from collections import namedtuple

import pytest

from firstlight.errors import BadFile, MissingDependency
from firstlight.models.database import Database
from firstlight.services import health
from firstlight.services.health import HealthService
from firstlight.storage.store import StorageRefused

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def checks(database, store, tmp_path):
    def check(**other):
        parts = {
            "workspace": tmp_path,
            "database": database,
            "store": store,
            "catalog_release": lambda: "tycho2-1",
        }
        return {each.name: each for each in HealthService(**parts | other).check()}

    return check


def test_catalogues_of_the_settings(checks):
    def gone():
        raise BadFile("There is no such folder.", subject="stars.parquet")

    found = checks(local_catalogs={"mine": lambda: "mine-1", "other": gone})
    assert (found["catalogue mine"].state, found["catalogue mine"].found) == ("ok", "mine-1")
    assert found["catalogue other"].state == "broken"
    assert "stars.parquet" in found["catalogue other"].found
    assert "[catalogs.local.other]" in found["catalogue other"].mend


def test_a_sound_workspace(checks):
    found = checks()
    for name in ("firstlight", "processor cores", "database", "storage", "catalogue Tycho-2"):
        assert found[name].state == "ok", found[name]
    assert found["storage"].found == "write, read, delete"
    assert found["catalogue Tycho-2"].found == "tycho2-1"


def test_the_probe_leaves_nothing(checks, store):
    checks()
    assert list(store.list("")) == []


def test_an_old_database(checks, tmp_path):
    empty = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    found = checks(database=empty)["database"]
    empty.dispose()
    assert found.state == "broken"
    assert "firstlight" in found.mend


def test_a_database_that_does_not_answer(checks, tmp_path):
    nowhere = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite'}")
    found = checks(database=nowhere)["database"]
    assert found.state == "broken"
    assert found.mend


def test_the_password_is_not_told(checks, tmp_path):
    hidden = Database("postgresql://me:open-sesame@localhost:1/nowhere")
    assert "open-sesame" not in str(checks(database=hidden)["database"])
    hidden.dispose()


def test_a_store_that_refuses(checks):
    class Refusing:
        def put(self, key, content):
            raise StorageRefused(subject="s3://bucket", hint="check the keys")

    found = checks(store=Refusing())["storage"]
    assert (found.state, found.mend) == ("broken", "check the keys")


def test_a_catalogue_that_is_damaged(checks):
    def release():
        raise BadFile(subject="tycho2.npy")

    found = checks(catalog_release=release)["catalogue Tycho-2"]
    assert (found.state, found.mend) == ("broken", "install firstlight again")


@pytest.mark.parametrize(("free", "state"), [(4e9, "broken"), (6e9, "ok")])
def test_room_on_the_disk(checks, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1e12, 1e12 - free, free))
    found = checks()["disk space"]
    assert found.state == state
    assert bool(found.mend) == (state == "broken")


def test_what_is_optional_is_missing_and_not_broken(checks, monkeypatch, tmp_path):
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(health.shutil, "which", lambda _name: None)
    monkeypatch.setattr(health.sys, "executable", str(tmp_path / "python"))
    found = checks()
    for name in ("psycopg (PostgreSQL)", "solve-field (second plate solver)"):
        assert found[name].state == "missing"
        assert "install" in found[name].mend


def test_what_colour_cameras_need(checks, monkeypatch):
    found = checks()
    assert {"rawpy (reads CR2 photographs)", "ffmpeg (makes timelapses)"} <= set(found)

    def missing():
        raise MissingDependency("Movies need ffmpeg.", found="no ffmpeg", hint="install ffmpeg")

    monkeypatch.setattr(health, "find_ffmpeg", missing)
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda _name: None)
    found = checks()
    ffmpeg = found["ffmpeg (makes timelapses)"]
    assert (ffmpeg.state, ffmpeg.found, ffmpeg.mend) == ("missing", "no ffmpeg", "install ffmpeg")
    assert "firstlight[raw]" in found["rawpy (reads CR2 photographs)"].mend


def test_findings_are_json(checks):
    for each in checks().values():
        assert set(each.as_dict()) == {"name", "state", "found", "mend"}
        assert all(isinstance(value, str) for value in each.as_dict().values())
