"""Exposures that are called by the names of their files."""

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import delete

from firstlight.models import Exposure, ExposureFile, ExposureHeader
from firstlight.models.exposure_file import FileRole
from firstlight.services.finding.search import (
    ExposureAmbiguous,
    ExposureNotFound,
    NoHeader,
    SearchService,
)


@pytest.fixture
def search(database, store):
    return SearchService(database=database, store=store)


def _archive(database, store, number, site):
    header = fits.Header([("DATE-OBS", "2026-01-02T03:04:05"), ("OBJECT", f"field {number}")])
    path = store.root / f"frame-{number}.fits"
    fits.PrimaryHDU(np.full((4, 4), number, np.int16), header).writeto(path)
    key = f"raw/Generic/{number}/frame.fits"
    stored = store.put(key, path.read_bytes())
    row = Exposure(
        nofile=True, instrument="GenericFITS", filename=key, kind="science", filter="V",
        mjd=61000.0 + number, exp_time=10.0, site=site, sha256=stored.sha256,
    )  # fmt: skip
    file = ExposureFile(
        exposure_id=row.id, name="frame.fits", role=FileRole.RAW.value, key=key,
        size=stored.size, sha256=stored.sha256, md5=stored.md5,
    )  # fmt: skip
    file.identify()
    with database.begin() as session:
        session.add(row)
        session.flush()
        session.add(file)
    return row.id


def test_a_name_that_one_file_has_is_enough(search, database, store):
    ident = _archive(database, store, 1, "sro")
    assert search.exposure("frame.fits", None).id == ident


def test_of_namesakes_one_sees_those_of_ones_own_sites_and_must_choose(search, database, store):
    ids = {site: _archive(database, store, n, site) for n, site in enumerate(["sro", "mrc"], 1)}
    with pytest.raises(ExposureAmbiguous) as caught:
        search.exposure("frame.fits", None)
    assert all(str(each) in caught.value.found for each in ids.values())
    assert search.exposure("frame.fits", ["mrc"]).id == ids["mrc"]
    with pytest.raises(ExposureNotFound):
        search.exposure("frame.fits", ["eco"])


def test_a_header_that_was_not_kept_is_read_from_the_file(search, database, store):
    ident = _archive(database, store, 1, "sro")
    with database.begin() as session:
        session.execute(delete(ExposureHeader))
    cards = {keyword: value for keyword, value, _ in search.header(ident, None)}
    assert cards["OBJECT"] == "field 1"
    with database.begin() as session:
        session.execute(delete(ExposureFile))
    with pytest.raises(NoHeader):
        search.header(ident, None)
