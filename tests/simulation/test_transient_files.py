"""A simulated pair on disk holds what the pair holds."""

import numpy as np
import pytest
from astropy.io import fits
from pyarrow.parquet import read_table

from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.transient_files import PairThere, write_pair
from firstlight.simulation.transient_pair import PairSettings, simulate_pair


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(PairSettings.of_size(160, 160, seed=5, transients=3))


def test_electrons_truth_and_the_wrong_wcs_are_there(pair, tmp_path):
    new, reference = write_pair(pair, tmp_path / "a" / "pair")
    for path, image in ((new, pair.new), (reference, pair.reference)):
        header, data = fits.getheader(path), fits.getdata(path)
        count = header["NCOMBINE"]
        np.testing.assert_allclose(data * header["GAIN"] / count, image.pixels, rtol=1e-6)
    assert fits.getval(reference, "NCOMBINE") == pair.settings.reference_exposures
    told = Projection.from_header(fits.getheader(new))
    np.testing.assert_allclose(
        told.pixel_to_sky(80, 80), pair.header.pixel_to_sky(80, 80), atol=1e-9
    )
    truth = read_table(new.parent / "truth.parquet").to_pydict()
    assert truth["flux"] == pytest.approx(pair.transients.flux.tolist())
    assert truth["x"] == pytest.approx(pair.transients.x.tolist())


def test_nothing_is_overwritten(pair, tmp_path):
    (tmp_path / "reference.fits").write_bytes(b"mine")
    with pytest.raises(PairThere) as fault:
        write_pair(pair, tmp_path)
    assert fault.value.subject.endswith("reference.fits")
    assert [path.name for path in tmp_path.iterdir()] == ["reference.fits"]
