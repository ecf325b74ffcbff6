"""Masters that are taken from files: what becomes of them, and which sections get them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput
from firstlight.formats.fits_image import Planes
from firstlight.instruments.registry import UnknownInstrument
from firstlight.instruments.sections import UnknownSection
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.pipeline.detector_frame import masters_from
from firstlight.services.calibration import CalibrationService, MasterFile
from firstlight.services.products import ProductFiles
from firstlight.services.settings import CalibrationSettings, ImageFileSettings
from firstlight.storage import StorageSettings, open_store


@pytest.fixture
def service(database, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    configure_data_roots(root)
    files = ProductFiles(open_store(StorageSettings(root=str(root))), ImageFileSettings())
    return CalibrationService(database=database, files=files, settings=CalibrationSettings())


def file_of(path, pixels, **facts):
    fits.PrimaryHDU(np.asarray(pixels, np.float32)).writeto(path)
    return MasterFile(path, **facts)


def exposure(filter_="z", mjd=60_000.0):
    return Exposure(
        nofile=True, filename="x.fits", instrument="DECam", telescope="x", kind="science",
        mjd=mjd, exp_time=30.0, filter=filter_,
    )  # fmt: skip


def chosen(service, role, **facts):
    with service._database.reading() as session:
        choice = service.chooser(session).choose(exposure(**facts), "N4", (role,))
        image = choice.images.get(role)
        if image is not None:
            assert image.planes is not None  # read while the session is there
    return image, choice.reasons[role]


def test_a_fringe_serves_its_filter_at_any_time(service, tmp_path):
    pattern = 7.0 + np.sin(np.arange(30.0 * 20).reshape(30, 20))
    pattern[3, 4] = np.nan
    ident = service.take_master("fringe", file_of(tmp_path / "f.fits", pattern), "DECam", "N4", "z")
    again = MasterFile(tmp_path / "f.fits")
    assert service.take_master("fringe", again, "DECam", "N4", "z") == ident
    image, reason = chosen(service, "fringe")
    assert (image.id, reason) == (ident, "taken from f.fits")
    assert np.median(image.data) == pytest.approx(0.0, abs=0.02)
    assert image.flags[3, 4] == Flag.BAD
    assert image.variance.max() < 1e-10
    assert chosen(service, "fringe", filter_="r") == (None, "no master fringe in filter r")


def test_of_several_the_nearest_in_time_is_used(service, tmp_path):
    for name, mjd in (("old", 50_000.0), ("new", 59_000.0)):
        star = file_of(tmp_path / f"{name}.fits", np.full((30, 20), 3.0), mjd=mjd)
        service.take_master("illumination", star, "DECam", "N4", "z")
    image, reason = chosen(service, "illumination", mjd=58_000.0)
    assert reason == "taken from new.fits"
    np.testing.assert_array_equal(image.data, 1.0)


def test_bad_pixels_are_flags(service, tmp_path):
    bad = np.zeros((30, 20))
    bad[5, 6] = 2
    service.take_master("bad_pixels", file_of(tmp_path / "b.fits", bad), "DECam", "N4", None)
    image, _ = chosen(service, "bad_pixels", filter_="r")
    assert isinstance(image, Image)
    marked = masters_from({"bad_pixels": image}).bad
    assert marked.sum() == Flag.BAD
    assert marked[5, 6] == Flag.BAD


def test_flat_and_illumination_are_one_response_with_both_errors():
    made = {}
    for role, value, error in (("flat", 0.8, 0.01), ("illumination", 1.1, 0.02)):
        image = Image(kind=role, instrument="DECam", section_id="N4", mjd=0.0)
        plane = np.full((4, 5), value, np.float32)
        weight = np.full((4, 5), error**-2, np.float32)
        image.planes = Planes(plane, weight, np.zeros((4, 5), np.uint16))
        made[role] = image
    both = masters_from(made)
    np.testing.assert_allclose(both.flat, 0.88, rtol=1e-5)
    wanted = 0.88**2 * ((0.01 / 0.8) ** 2 + (0.02 / 1.1) ** 2)
    np.testing.assert_allclose(both.flat_variance, wanted, rtol=1e-4)


def test_what_cannot_be_taken_is_told(service, tmp_path):
    file = file_of(tmp_path / "f.fits", np.ones((3, 3)))
    for role, filter_, field in (("bias", None, "role"), ("fringe", None, "filter"),
                                 ("bad_pixels", "z", "filter")):  # fmt: skip
        with pytest.raises(InvalidInput) as fault:
            service.take_master(role, file, "DECam", "N4", filter_)
        assert fault.value.field == field
    with pytest.raises(UnknownInstrument):
        service.take_master("fringe", file, "DEcam", "N4", "z")
    with pytest.raises(UnknownSection):
        service.take_master("fringe", file, "DECam", "N44", "z")
