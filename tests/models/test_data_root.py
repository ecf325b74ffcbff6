"""Where files are."""

from contextlib import nullcontext

import pytest

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.data_root import (
    MissingData,
    configure_data_roots,
    data_path,
    data_root,
    relative_name,
)
from firstlight.storage.keys import BadKey


@pytest.fixture(autouse=True)
def roots(tmp_path):
    local, server = tmp_path / "local", tmp_path / "server"
    local.mkdir()
    (server / "night").mkdir(parents=True)
    (server / "night" / "a.fits").write_bytes(b"bytes")
    configure_data_roots(local, server)
    yield local, server
    configure_data_roots()


def test_a_local_file_is_not_fetched(roots):
    (roots[0] / "night").mkdir()
    (roots[0] / "night" / "a.fits").write_bytes(b"mine")
    assert data_path("night/a.fits").read_bytes() == b"mine"


def test_a_missing_file_is_fetched_and_kept(roots):
    path = data_path("night/a.fits")
    assert path == roots[0] / "night" / "a.fits"
    assert path.read_bytes() == b"bytes"
    configure_data_roots(roots[0])
    assert data_path("night/a.fits") == path


def test_a_store_serves_like_a_folder(roots):
    class Store:
        def exists(self, key):
            return key == "b.fits"

        def local_path(self, key):
            return nullcontext(roots[1] / "night" / "a.fits")

    configure_data_roots(roots[0], Store())
    assert data_path("b.fits").read_bytes() == b"bytes"
    with pytest.raises(MissingData, match="and the server"):
        data_path("c.fits")


def test_downloading_can_be_forbidden(roots):
    with pytest.raises(FileNotFoundError, match=r"night/a\.fits"):
        data_path("night/a.fits", download=False)
    assert not list(roots[0].iterdir())


def test_a_failed_transfer_leaves_nothing(roots, monkeypatch):
    def fail(*_):
        raise OSError("lost")

    monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="lost"):
        data_path("night/a.fits")
    assert [path for path in roots[0].rglob("*") if path.is_file()] == []


def test_missing_everywhere():
    with pytest.raises(MissingData) as caught:
        data_path("x.fits")
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, MissingError)


@pytest.mark.parametrize("name", ["../x.fits", "/etc/passwd", "a/../../x", ""])
def test_names_cannot_leave_the_root(name):
    with pytest.raises(BadKey):
        data_path(name)


def test_names_are_relative_to_the_root(roots, tmp_path, monkeypatch):
    assert relative_name(roots[0] / "a" / "b.fits") == "a/b.fits"
    assert relative_name("a/b.fits") == "a/b.fits"
    monkeypatch.chdir(roots[0])
    (roots[0] / "sub").mkdir()
    (roots[0] / "sub" / "here.fits").touch()
    monkeypatch.chdir(roots[0] / "sub")
    assert relative_name("here.fits") == "sub/here.fits"
    with pytest.raises(InvalidInput, match=r"path\.data_root"):
        relative_name(tmp_path / "elsewhere.fits")


def test_without_configuration_the_root_is_the_current_folder(tmp_path, monkeypatch):
    configure_data_roots()
    monkeypatch.chdir(tmp_path)
    assert data_root() == tmp_path
