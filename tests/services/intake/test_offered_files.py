"""What is found below a folder that somebody offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.services.intake.archive import ArchiveService


@pytest.fixture
def service() -> ArchiveService:
    return ArchiveService(database=None, arrivals=None)  # finding asks neither


def _filled(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_images_are_offered_and_the_rest_is_passed_over(service, tmp_path):
    below = _filled(tmp_path, "b/2.FITS", "a.fits.fz", "night.log", "b/sky.png", "b/c/3.cr2")
    found = service.find([below])
    assert found.files == [below / each for each in ("a.fits.fz", "b/2.FITS", "b/c/3.cr2")]
    assert found.passed_over == [below / "b/sky.png", below / "night.log"]


def test_hidden_files_are_neither(service, tmp_path):
    below = _filled(tmp_path, "a.fits", "._a.fits", ".DS_Store")
    found = service.find([below])
    assert found.files == [below / "a.fits"]
    assert found.passed_over == []


def test_what_belongs_to_an_image_by_its_name_is_offered(service, tmp_path):
    name = "tst-kb001ms-20240803-00000002-EX10.jpg"
    assert service.find([_filled(tmp_path, name)]).files == [tmp_path / name]


def test_a_file_is_offered_whatever_its_name(service, tmp_path):
    below = _filled(tmp_path, "night.log")
    assert service.find([below / "night.log"]).files == [below / "night.log"]


def test_what_has_nothing_to_take_is_offered_so_that_it_is_told(service, tmp_path):
    below = _filled(tmp_path, "night.log")
    missing = below / "nowhere"
    found = service.find([below, missing])
    assert found.files == [below, missing]
    assert found.passed_over == [below / "night.log"]


def test_each_file_once(service, tmp_path):
    below = _filled(tmp_path, "a.fits", "b.txt")
    found = service.find([below, below / "a.fits", below])
    assert (found.files, found.passed_over) == ([below / "a.fits"], [below / "b.txt"])
