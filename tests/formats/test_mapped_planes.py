"""Single pixels of stored planes, in every way that images are written."""

import numpy as np
import pytest

from firstlight.errors import FirstlightError
from firstlight.formats.fits_image import Planes, write_planes
from firstlight.formats.mapped_planes import map_planes

SHAPE = (50, 70)


@pytest.fixture
def planes():
    dice = np.random.default_rng(1)
    made = {name: dice.normal(0, 10, SHAPE).astype(np.float32) for name in ("a", "b", "score")}
    flags = dice.integers(0, 65536, SHAPE).astype(np.uint16)
    return Planes(made["a"], made["b"], flags, {"OBJECT": "x"}, {"score": made["score"]})


@pytest.mark.parametrize(("single", "packed"), [(True, False), (False, False), (True, True)])
def test_pixels_are_those_that_were_written(tmp_path, planes, single, packed):
    end = ".fits" if single else ""
    paths = write_planes(tmp_path / f"x{end}", planes, single_file=single, packed=packed)
    found = map_planes(paths, ("SCORE", "FLAGS", "DATA"))
    index = np.array([[3], [40]]), np.array([5, 6, 69])
    assert found["FLAGS"].shape == SHAPE
    assert found["FLAGS"][index].dtype == np.uint16
    np.testing.assert_array_equal(found["FLAGS"][index], planes.flags[index])
    loose = 2.0 if packed else 0.0  # quantised to a part of the noise
    np.testing.assert_allclose(found["SCORE"][index], planes.extras["score"][index], atol=loose)
    np.testing.assert_allclose(found["DATA"][index], planes.data[index], atol=loose)
    assert found["SCORE"][index].dtype.isnative


def test_a_plane_that_is_not_there_is_named(tmp_path, planes):
    write_planes(tmp_path / "x.fits", planes)
    with pytest.raises(FirstlightError, match="FLUX_ERROR"):
        map_planes(tmp_path / "x.fits", ("SCORE", "FLUX_ERROR"))
