"""A PSF comes back as it was written; nothing else is taken for one."""

import dataclasses

import numpy as np
import pytest

from firstlight.algorithms.psf.model import PsfModel
from firstlight.formats.psf_file import BadPsf, MissingPsf, read_psf, write_psf

MODEL = PsfModel(
    profile=(1.7, 0.02, -0.01, 3.0),
    bends=np.zeros((3, 3)),
    nets=np.random.default_rng(2).normal(0, 1e-4, (3, 9, 9)),
    spacing=1.0,
    middle=(31.5, 23.5),
    reach=(32.0, 24.0),
    totals=np.array([1.0, 0.001, -0.002]),
    radius=7,
    stars=40,
)


def test_it_comes_back(tmp_path):
    file = tmp_path / "psf.npz"
    file.write_bytes(write_psf(MODEL))
    back = read_psf(file)
    for field in dataclasses.fields(PsfModel):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(MODEL, field.name))
    np.testing.assert_array_equal(back.stamps(10.2, 20.7), MODEL.stamps(10.2, 20.7))
    assert write_psf(MODEL) == file.read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "psf.npz"
    file.write_bytes(content)
    with pytest.raises(BadPsf):
        read_psf(file)


def test_objects_that_could_run_are_not_loaded(tmp_path):
    file = tmp_path / "psf.npz"
    np.savez(file, profile=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadPsf):
        read_psf(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingPsf):
        read_psf(tmp_path / "none.npz")
