"""Small files as a Photon Ranch site sends them."""

from __future__ import annotations

import io

import numpy as np
from astropy.io import fits
from PIL import Image as Picture

BASE = "sro-kb001ms-20220629-00010442"
TEXT, LARGE, SMALL = f"{BASE}-EX00.txt", f"{BASE}-EX00.fits.fz", f"{BASE}-EX10.fits.fz"
CALIBRATED, MEDIUM, THUMBNAIL = (
    f"{BASE}-EX01.fits.fz",
    f"{BASE}-EX10.jpg",
    f"{BASE}-EX11.jpg",
)


def header(**cards):
    told = {
        "DATE-OBS": "2022-06-30T04:05:06.000",
        "EXPTIME": 20.0,
        "FILTER": "rp",
        "OBJECT": "M 29",
        "OBJCTRA": 20.4,
        "OBJCTDEC": 38.5,
        "ALTITUDE": 61.5,
        "AZIMUTH": 120.25,
        "AIRMASS": 1.137,
        "USERID": "auth0|1",
        "USERNAME": "ada",
        "SITEID": "sro",
        "SITELAT": 37.07,
        "SITELONG": -119.4,
        "SMARTSTK": "no",
        "IMAGETYP": "Light Frame",
        **cards,
    }
    made = fits.Header()
    for keyword, value in told.items():
        if value is not ...:
            made[keyword] = value
    return made


def text(**cards) -> bytes:
    return header(**cards).tostring(sep="\n", endcard=True, padding=False).encode("latin-1")


def packed(seed: int = 1, **cards) -> bytes:
    pixels = np.random.default_rng(seed).integers(100, 900, (24, 32)).astype(np.uint16)
    sink = io.BytesIO()
    image = fits.CompImageHDU(pixels, header(**cards), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(sink)
    return sink.getvalue()


def plain_fits(seed: int = 1, **cards) -> bytes:
    pixels = np.random.default_rng(seed).integers(100, 900, (24, 32)).astype(np.uint16)
    sink = io.BytesIO()
    fits.PrimaryHDU(pixels, header(**cards)).writeto(sink)
    return sink.getvalue()


def jpg(width: int = 400, height: int = 300, seed: int = 1) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)
    sink = io.BytesIO()
    Picture.fromarray(levels).save(sink, "JPEG")
    return sink.getvalue()
