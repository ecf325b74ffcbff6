"""Accounts that cannot write to the package or to a home keep compiled kernels elsewhere."""

import os
import tempfile
from pathlib import Path

import pytest

from firstlight.cli.kernel_cache import keep_kernels


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Only the folder for temporary files can be written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    return {"XDG_CACHE_HOME": str(tmp_path / "home" / ".cache")}


def test_a_folder_of_their_own_that_lasts(nowhere, tmp_path):
    environment = dict(nowhere)
    keep_kernels(environment, tmp_path)
    folder = environment["NUMBA_CACHE_DIR"]
    assert folder.startswith(str(tmp_path / "temporary"))
    assert Path(folder).stat().st_mode & 0o077 == 0
    again = dict(nowhere)
    keep_kernels(again, tmp_path)
    assert again == environment


def test_a_folder_that_is_open_to_others_is_not_trusted(nowhere, tmp_path):
    first, second = dict(nowhere), dict(nowhere)
    keep_kernels(first, tmp_path)
    Path(first["NUMBA_CACHE_DIR"]).chmod(0o750)
    keep_kernels(second, tmp_path)
    assert second["NUMBA_CACHE_DIR"] != first["NUMBA_CACHE_DIR"]


def test_what_was_named_and_what_can_be_written_stays(nowhere, tmp_path, monkeypatch):
    named = {**nowhere, "NUMBA_CACHE_DIR": "/mine"}
    keep_kernels(named, tmp_path)
    assert named["NUMBA_CACHE_DIR"] == "/mine"
    monkeypatch.setattr(os, "access", lambda path, mode: path == tmp_path)
    for package in (tmp_path, tmp_path / "package"):  # the package itself; the home's parent
        environment = dict(nowhere)
        keep_kernels(environment, package)
        assert "NUMBA_CACHE_DIR" not in environment
