"""What of a light curve is used, and why not the rest."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from firstlight.analysis_kit import AnalysisFailed
from firstlight.analysis_kit.supernova_photometry import Cuts, measurements


def _table(rows) -> Table:
    names = ["mjd", "flux", "fluxerr", "limiting_mag", "filter"]
    return Table(rows=rows, names=names, dtype=[float, float, float, float, str])


nan = float("nan")


def test_faint_and_negative_fluxes_stay_and_limits_are_marked():
    data = measurements(
        _table(
            [
                (3.0, 100.0, 5.0, nan, "ztfg"),
                (1.0, -4.0, 5.0, nan, "ztfr"),
                (2.0, nan, 4.0, 18.9, "ztfg"),
                (4.0, nan, nan, 18.9, "ztfg"),
                (5.0, nan, 6.0, nan, "ztfg"),
            ]
        ),
        Cuts(),
    )
    assert data.mjd.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert data.is_limit.tolist() == [False, True, False, True, True]
    assert data.flux == pytest.approx([-4.0, 100.0, 100.0, 100.0, 30.0])
    assert data.error == pytest.approx([5.0, 4.0, 5.0, 20.0, 6.0])
    assert [data.bands[index].name for index in data.band] == ["ztfr"] + ["ztfg"] * 4
    assert data.is_detection.tolist() == [False, False, True, False, False]
    assert data.row.tolist() == [1, 2, 0, 3, 4]
    assert not data.left_out


def test_each_that_is_left_out_has_its_reason():
    data = measurements(
        _table(
            [
                (1.0, 100.0, 5.0, nan, "ztfg"),
                (2.0, 100.0, 5.0, nan, "nonesuch"),
                (3.0, 100.0, nan, nan, "ztfg"),
                (4.0, 100.0, 0.0, nan, "ztfg"),
                (5.0, 10.0, 5.0, nan, "ztfg"),
                (nan, 100.0, 5.0, nan, "ztfg"),
                (7.0, nan, nan, nan, "ztfg"),
                (99.0, 100.0, 5.0, nan, "ztfg"),
                (-9.0, 100.0, 5.0, nan, "ztfg"),
            ]
        ),
        Cuts(snr_min=3.0, first=0.0, last=50.0),
    )
    assert len(data) == 1
    assert data.left_out == {
        "filter nonesuch is unknown": 1,
        "no error": 2,
        "signal-to-noise below 3": 1,
        "no time": 1,
        "neither flux nor limit": 1,
        "after the last day asked for": 1,
        "before the first day asked for": 1,
    }


def test_an_error_is_assumed_only_when_asked_for():
    table = _table([(1.0, 100.0, nan, nan, "ztfg"), (2.0, 100.0, 1.0, nan, "ztfg")])
    assert len(measurements(table, Cuts())) == 1
    data = measurements(table, Cuts(error_where_none=0.1))
    assert data.error == pytest.approx([100.0 * 0.1 / 1.0857, 1.0], rel=1e-4)


def test_masked_values_are_missing_ones():
    table = _table([(1.0, 100.0, 5.0, nan, "ztfg"), (2.0, 7.0, 5.0, nan, "ztfg")])
    table["flux"] = MaskedColumn(table["flux"], mask=[False, True])
    assert measurements(table, Cuts()).is_limit.tolist() == [False, True]


@pytest.mark.parametrize("table", [None, _table([(1.0, 1.0, 1.0, nan, "ztfg")])[:0]])
def test_no_photometry_is_told(table):
    with pytest.raises(AnalysisFailed, match="no photometry"):
        measurements(table, Cuts())


def test_no_usable_band_is_told_with_the_names():
    table = _table([(1.0, 1.0, 1.0, nan, "x1"), (1.0, 1.0, 1.0, nan, "x2")])
    with pytest.raises(AnalysisFailed, match=r"no usable band.*x1, x2"):
        measurements(table, Cuts())


def test_nothing_left_is_told_with_the_reasons():
    table = _table([(1.0, 1.0, nan, nan, "ztfg"), (2.0, 1.0, 9.0, nan, "ztfg")])
    with pytest.raises(AnalysisFailed, match="1 with no error; 1 with signal-to-noise below 5"):
        measurements(table, Cuts(snr_min=5.0))


def test_a_choice_renumbers_the_bands():
    table = _table([(1.0, 1.0, 1.0, nan, name) for name in ("ztfg", "ztfr", "ztfi")])
    data = measurements(table, Cuts())
    chosen = data.of(np.array([True, False, True]), "tried")
    assert [band.name for band in chosen.bands] == ["ztfg", "ztfi"]
    assert chosen.band.tolist() == [0, 1]
    assert chosen.left_out == {"tried": 1}
    assert chosen.row.tolist() == [0, 2]
