"""Masks and weight maps that come with images are kept, and are nothing to reduce."""

import numpy as np
import pytest
from astropy.io import fits

from firstlight.services.intake.plain_exposure import read_plain

CARDS = {
    "INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "PROCTYPE": "InstCal",
    "OBSTYPE": "object", "EXPTIME": 90.0, "DATE-OBS": "2015-04-12T07:32:57.1", "FILTER": "z DECam",
    "RA": "16:18:38.640", "DEC": "-12:20:09.600",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "product", "kind", "said"),
    [
        ("c4d_150412_073257_ooi_z_v1.fits", "image", "science", None),
        ("c4d_150412_073257_oow_z_v1.fits", "wtmap", "other", "weight map"),
        ("c4d_150412_073257_ood_z_ls9.fits", "image", "other", "mask"),
    ],
)
def test_what_lies_beside_an_image_is_noted(tmp_path, name, product, kind, said):
    header = fits.Header(CARDS | {"PRODTYPE": product})
    # Nothing is masked: for an image it would be a fault that all pixels are alike.
    pixels = np.zeros((20, 30)) if said == "mask" else np.random.default_rng(1).random((20, 30))
    section = fits.ImageHDU(pixels.astype(np.float32), name="N11")
    fits.HDUList([fits.PrimaryHDU(header=header), section]).writeto(tmp_path / name)
    found = read_plain(tmp_path / name, name)
    assert found.columns["instrument"] == "DECam"
    assert found.columns["kind"] == kind
    notes = [each for each in found.problems if each.code == "header.companion"]
    assert len(notes) == (said is not None)
    if said is not None:
        assert notes == found.problems
        assert f"it is the {said} of an image" in notes[0].message


@pytest.mark.sample
def test_files_of_the_community_pipeline(samples):
    kinds = {"ooi": set(), "oow": set(), "ood": set()}
    for path in sorted((samples / "legacypipe" / "testcase3" / "images").rglob("c4d_*.fits")):
        kinds[path.name.split("_")[3]].add(read_plain(path, path.name).columns["kind"])
    assert kinds == {"ooi": {"science"}, "oow": {"other"}, "ood": {"other"}}
