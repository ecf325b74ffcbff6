"""Alert packets: ours come back as they were written, those of others are read."""

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits

from firstlight.formats.alert_packet import BadAlert, encode_alert, read_alerts, stamp_bytes

SOURCE = {
    "diaSourceId": 7, "diaObjectId": "FL26aaa", "visit": "e1", "detector": "1",
    "instrument": "demo", "midpointMjdUtc": 60310.25, "band": "r", "ra": 31.0, "dec": 46.5,
    "positionErr": 0.1, "x": 20.5, "y": 11.25, "psfFlux": 3000.0, "psfFluxErr": 250.0,
    "snr": 12.0, "reliability": 0.875, "knownAs": None, "flags": 4, "provenance": "abc",
}  # fmt: skip


def packet():
    stamp = stamp_bytes(np.arange(9, dtype=np.float32).reshape(3, 3))
    return {
        "alertId": 7,
        "publisher": "firstlight",
        "diaSource": SOURCE,
        "prvDiaSources": [{**SOURCE, "diaSourceId": 3, "band": None}],
        "prvDiaForcedSources": [
            {"midpointMjdUtc": 60300.5, "band": "r", "psfFlux": -40.0, "psfFluxErr": 250.0,
             "limitingMag": 21.5, "flags": 0},
        ],
        "diaObject": {
            "diaObjectId": "FL26aaa", "ra": 31.0, "dec": 46.5, "nDiaSources": 2,
            "firstDiaSourceMjdUtc": 60309.0, "lastDiaSourceMjdUtc": 60310.25,
        },
        "cutoutScience": stamp, "cutoutTemplate": stamp, "cutoutDifference": None,
    }  # fmt: skip


def test_a_packet_comes_back():
    content = encode_alert(packet())
    assert encode_alert(packet()) == content
    (back,) = read_alerts(content)
    assert back["diaSource"] == {
        name: pytest.approx(value) if isinstance(value, float) else value
        for name, value in SOURCE.items()
    }
    assert back["prvDiaForcedSources"][0]["limitingMag"] == 21.5
    with fits.open(io.BytesIO(gzip.decompress(back["cutoutScience"]))) as opened:
        np.testing.assert_array_equal(opened[0].data, np.arange(9).reshape(3, 3))
    assert back["cutoutDifference"] is None


def test_what_the_schema_does_not_know_is_refused():
    with pytest.raises(ValueError, match="wrong"):
        encode_alert({**packet(), "wrong": 1})


@pytest.mark.parametrize("content", [b"", b"Obj\x01 half", b"\x80\x04K\x01.", b"{}"])
def test_other_files_are_told_apart(content):
    with pytest.raises(BadAlert):
        read_alerts(content)


def test_what_is_no_avro_is_told_as_such():
    with pytest.raises(BadAlert) as caught:
        read_alerts(b"\xff\xd8\xff\xe0 a picture")
    assert caught.value.expected.startswith("an Avro file")


@pytest.mark.sample
def test_packets_of_ztf_are_read(samples):
    file = samples / "alerts" / "2019_01_10_739260766315010006.avro"
    (alert,) = read_alerts(file.read_bytes(), name=file.name)
    assert alert["objectId"] == "ZTF17aaacxxf"
    stamp = gzip.decompress(alert["cutoutDifference"]["stampData"])
    assert stamp.startswith(b"SIMPLE")
    assert b"NAXIS1  =                   63" in stamp[:2880]
