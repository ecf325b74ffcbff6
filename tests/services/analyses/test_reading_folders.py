"""What killed processes left in the temporary folder goes; what may be somebody's stays."""

import os
import tempfile
import time

import pytest

from firstlight.services.analyses.reading_folders import new_folder, sweep_folders

DAY_S = 24 * 3600


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def aged(path, seconds=DAY_S + 60):
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path


def test_folders_of_killed_processes_are_swept():
    for kind in ("results", "corner"):
        left = new_folder(kind)
        (left / "inner").mkdir()
        (left / "inner" / "body.json").write_text("{}")
        aged(left)
    assert sweep_folders() == 2
    assert sweep_folders() == 0


def test_what_may_be_in_use_or_somebody_elses_stays(temporary, monkeypatch):
    in_use = aged(new_folder("results"), DAY_S - 60)
    for name in ("firstlight-mynight1", "firstlight-results-of-last-year", "firstlight-results-"):
        (temporary / name).mkdir()
        aged(temporary / name)
    file = temporary / "firstlight-results-abcdefgh"
    file.write_text("a file")
    aged(file)
    target = temporary / "precious"
    target.mkdir()
    link = temporary / "firstlight-corner-abcdefgh"
    link.symlink_to(target)
    aged(link)
    before = set(temporary.iterdir())
    assert sweep_folders() == 0
    aged(in_use)
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    assert sweep_folders() == 0
    assert set(temporary.iterdir()) == before
