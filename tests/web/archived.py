"""Exposures as the archive holds them, put there without any processing."""

import datetime as dt
import uuid

from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile, ExposureHeader

START = dt.datetime(2022, 6, 30, 4, 15, tzinfo=dt.UTC)
CARDS = [
    ["OBJECT", "M 101", "target"],
    ["DATE-OBS", "2022-06-30T04:15:00", ""],
    ["ORIGNAME", "raw.fits", None],
]
LEVELS = {
    "jpg_medium": "EX10.jpg",
    "thumbnail": "EX11.jpg",
    "fits_large": "EX00.fits.fz",
    "fits_small": "EX10.fits.fz",
    "header_text": "EX00.txt",
}


def archive(
    database,
    store,
    number,
    *,
    site="tst",
    minute=0,
    roles=("jpg_medium",),
    contents=None,
    **columns,
):
    """Put one exposure of a site; returns its row."""
    base = f"{site}-kb001ms-20220629-{number:08d}"
    began = START + dt.timedelta(minutes=minute)
    mjd = (began - MJD_EPOCH) / dt.timedelta(days=1)
    facts = {
        "instrument": "GenericFITS", "site": site, "kind": "science", "camera": "kb001ms",
        "base_filename": base, "label": base, "data_type": "EX", "filter": "rp",
        "target": "M 101", "exp_time": 60.0, "mjd": mjd + 30 / 86400, "sort_mjd": mjd,
        "night": dt.date(2022, 6, 29), "ra": 210.8, "dec": 54.3, "image_number": number,
        **columns,
    }  # fmt: skip
    row = Exposure(nofile=True, **facts)
    row.id = uuid.uuid4()
    with database.begin() as session:
        session.add(row)
        session.flush()
        for role in roles:
            name = f"{base}-{LEVELS[role]}"
            content = (contents or {}).get(role) or f"{role} of {base}".encode()
            stored = store.put(f"{row.collection}/{name}", content)
            file = ExposureFile(
                exposure_id=row.id,
                name=name,
                role=role,
                reduction_level=name[-6:-4],
                key=stored.key,
                size=stored.size,
                sha256=stored.sha256,
                md5=stored.md5,
            )
            file.identify()
            session.add(file)
            if role == "header_text":
                session.flush()
                session.add(ExposureHeader(id=file.id, exposure_id=row.id, rank=0, cards=CARDS))
    return row
