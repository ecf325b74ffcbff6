"""The names under which cameras write what we want to know, most trusted first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["KEYWORDS", "CardFound", "normalize_keyword"]


class CardFound(NamedTuple):
    """A card as it stands in the file."""

    keyword: str
    value: Any


KEYWORDS: Mapping[str, Sequence[str]] = {
    "instrument": ("INSTRUME", "CAMERA", "DETECTOR"),
    "telescope": ("TELESCOP", "TELNAME"),
    "kind": ("IMAGETYP", "OBSTYPE", "IMGTYPE", "IMAGETYPE", "FRAMETYP", "FRAME"),
    "target": ("OBJECT", "TARGET", "OBJNAME", "FIELD"),
    "project": ("PROPID", "PROJECT", "PROPOSAL", "PROGRAM", "PROGID"),
    "observer": ("OBSERVER", "OBSERVRS"),
    "filter": ("FILTER", "FILTNAM", "FILTERNAME", "FILTER1", "FILT"),
    "ra": ("RA", "OBJCTRA", "RA-MNT", "TELRA", "RA_TEL", "RADEG", "RA_OBJ"),
    "dec": ("DEC", "OBJCTDEC", "DEC-MNT", "TELDEC", "DEC_TEL", "DECDEG", "DEC_OBJ"),
    "exp_time": ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME", "EXPOSED"),
    "mjd": ("MJD-AVG", "MJD-MID"),
    "date_mid": ("DATE-AVG", "DATE-MID"),
    "date_start": ("DATE-BEG", "DATE-OBS", "UT-OBS", "DATE_OBS", "DATEOBS"),
    "time_start": ("TIME-OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UTC", "UT", "TIME-BEG"),
    "mjd_start": ("MJD-BEG", "MJD-OBS", "MJD"),
    "time_scale": ("TIMESYS",),
    "airmass": ("AIRMASS", "SECZ"),
    "temperature": ("CCD-TEMP", "CCDTEMP", "CAMTEMP", "DETTEMP", "SENSTEMP"),
    "binning_x": ("XBINNING", "BINX", "CCDXBIN", "XBIN", "BINNING"),
    "binning_y": ("YBINNING", "BINY", "CCDYBIN", "YBIN", "BINNING"),
    "binning_both": ("CCDSUM",),
    "latitude": ("SITELAT", "LAT-OBS", "LATITUDE", "OBSLAT", "OBSGEO-B", "GEOLAT"),
    "longitude": (
        "SITELONG",
        "LONG-OBS",
        "LONGITUD",
        "OBSLONG",
        "OBSGEO-L",
        "GEOLON",
        "SITELON",
        "OBSLON",
    ),
    "elevation": ("SITEELEV", "ELEV-OBS", "OBSELEV", "ALT-OBS", "OBSGEO-H", "HEIGHT", "OBSALT"),
    "gain": ("EGAIN", "CCDGAIN", "GAIN"),
    "read_noise": ("RDNOISE", "READNOIS", "RON", "ENOISE", "READNOISE"),
    "dark_current": ("DARKCUR", "DARKCURR"),
    "saturation_limit": ("SATURATE", "SATLEVEL", "SATURATA"),
    "non_linearity_limit": ("MAXLIN", "LINLIMIT", "NONLIN"),
    "pixel_scale": ("PIXSCALE", "SECPIX", "PIXELSCL", "PIXSCAL1", "SCALE"),
    "cfa_pattern": ("BAYERPAT", "CFAPAT", "COLORTYP"),
    "cfa_offset_x": ("XBAYROFF",),
    "cfa_offset_y": ("YBAYROFF",),
}


@lru_cache(maxsize=4096)
def normalize_keyword(keyword: str) -> str:
    """Return a keyword in the form in which names are compared.

    Upper case, without blanks, underscores and hyphens: ``date-obs`` and ``DATE_OBS`` agree.
    """
    return str(keyword).upper().translate(str.maketrans("", "", " _-"))
