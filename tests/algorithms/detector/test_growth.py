import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from firstlight.algorithms.detector.growth import disc, grown


def test_a_disc_holds_what_is_within_its_radius():
    assert disc(0).tolist() == [[True]]
    np.testing.assert_array_equal(disc(1), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    assert disc(2).sum() == 13


@pytest.mark.parametrize("shape", [disc(1), disc(3), np.ones((5, 5), bool), np.ones((1, 3), bool)])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 1.0])
def test_growing_is_dilating(shape, share):
    marked = np.random.default_rng(7).uniform(size=(90, 70)) < share
    marked[0, 0] = marked[-1, 33] = share > 0
    before = marked.copy()
    np.testing.assert_array_equal(grown(marked, shape), binary_dilation(marked, structure=shape))
    np.testing.assert_array_equal(
        grown(marked.T, shape), binary_dilation(marked.T, structure=shape)
    )
    np.testing.assert_array_equal(marked, before)
