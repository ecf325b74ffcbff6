"""Downloads from a folder and from S3, kept, used again, and expiring while they are read."""

import hashlib
import io
import uuid
import zipfile
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Picture
from sqlalchemy import select

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.formats.fits_errors import Cube
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models import Exposure, ExposureFile, PassingFile
from firstlight.models.database import Database, bulk_insert
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.finding.downloads import DownloadService, NothingToDownload, ZipTooLarge
from firstlight.services.finding.search import ExposureNotFound, SearchService
from firstlight.services.finding.served_files import FileMissing, FileService
from firstlight.storage import StorageSettings, open_store
from firstlight.storage.folder import FolderStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = MJD_EPOCH + timedelta(days=60_000)
RNG = np.random.default_rng(5)


class _Clock:
    now = NOW

    def __call__(self):
        return self.now


class _House:
    """A database, a store, and what works on them."""

    def __init__(self, database_url, store_settings):
        self.database = Database(database_url)
        self.store = open_store(StorageSettings(**store_settings))
        self.clock = _Clock()
        self.leftovers = Leftovers(database=self.database, store=self.store)
        self.downloads = self.service()

    def service(self, **more):
        return DownloadService(
            database=self.database,
            store=self.store,
            search=SearchService(database=self.database, store=self.store),
            files=FileService(database=self.database, store=self.store),
            leftovers=self.leftovers,
            clock=self.clock,
            **more,
        )

    def add(self, number, site="sro", **contents):
        """One exposure with files by role."""
        base = f"{site}-kb001ms-20230225-{number:08d}"
        key = uuid.uuid4()
        row = {
            "id": key,
            "format": "fits",
            "instrument": "GenericFITS",
            "site": site,
            "kind": "science",
            "filter": "V/2",
            "binning": "1x1",
            "header": {},
            "mjd": 60_000 + number / 1000,
            "sort_mjd": 60_000 + number / 1000,
            "collection": "data",
            "base_filename": base,
            "label": base,
            "reduction_state": "none",
            "image_number": key.int >> 75,
            "modified_at": NOW,
            "created_at": NOW,
        }
        files = [self._file(key, base, role, data) for role, data in contents.items()]
        with self.database.begin() as session:
            bulk_insert(session, Exposure, [row])
            bulk_insert(session, ExposureFile, files)
        return base

    def _file(self, key, base, role, content):
        level, suffix = {
            "fits_large": ("01", "fits.fz"),
            "fits_small": ("10", "fits.fz"),
            "raw": ("00", "fits"),
            "jpg_medium": ("10", "jpg"),
        }[role]
        name = f"{base}-EX{level}.{suffix}"
        stored = self.store.put(f"data/{name}", content)
        return {
            "id": uuid.uuid4(),
            "exposure_id": key,
            "name": name,
            "role": role,
            "reduction_level": level,
            "key": stored.key,
            "size": stored.size,
            "sha256": stored.sha256,
            "md5": stored.md5,
            "made": False,
            "created_at": NOW,
        }

    def kept(self):
        with self.database.reading() as session:
            return session.scalars(select(PassingFile)).all()


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def house(request, tmp_path):
    if request.param == "folder":
        settings = {"root": str(tmp_path / "store")}
    else:
        server = request.getfixturevalue("s3_server")
        settings = server.settings(request.getfixturevalue("s3_bucket"), uuid.uuid4().hex)
    made = _House(request.getfixturevalue("sqlite_url"), settings)
    yield made
    made.database.dispose()


def _packed(data):
    sink = io.BytesIO()
    header = fits.Header([("OBJECT", "M 31")])
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header)]).writeto(sink)
    return sink.getvalue()


def _plain(data):
    sink = io.BytesIO()
    fits.PrimaryHDU(data).writeto(sink)
    return sink.getvalue()


def _read(served):
    return b"".join(served.pieces(0, served.size))


DATA = RNG.integers(0, 60_000, (40, 50)).astype(np.uint16)


def test_packed_fits_are_handed_out_plain_and_as_stored(house):
    base = house.add(1, fits_large=_packed(DATA))
    served = house.downloads.fits(base, None)
    assert served.name == f"{base}-EX01.fits"
    assert served.media_type == "application/fits"
    with fits.open(io.BytesIO(_read(served))) as opened:
        assert np.array_equal(opened[1].data, DATA)
        assert opened[1].header["OBJECT"] == "M 31"
    stored = house.downloads.stored(base, f"{base}-EX01.fits.fz", None)
    assert _read(stored) == _packed(DATA)


def test_plain_fits_need_no_conversion(house):
    base = house.add(1, raw=_plain(DATA))
    assert _read(house.downloads.fits(base, None)) == _plain(DATA)
    assert house.kept() == []


def test_a_file_is_chosen_by_name_or_the_largest_is_taken(house):
    small = DATA[:5, :6]
    base = house.add(1, fits_small=_packed(small), fits_large=_packed(DATA), jpg_medium=b"jpg")
    for name, expected in ((None, DATA), (f"{base}-EX10.fits.fz", small)):
        content = _read(house.downloads.fits(base, None, name=name))
        with fits.open(io.BytesIO(content)) as opened:
            assert opened[1].data.shape == expected.shape
    with pytest.raises(FileMissing):
        house.downloads.fits(base, None, name="../../etc/passwd")
    with pytest.raises(InvalidInput):
        house.downloads.fits(base, None, name=f"{base}-EX10.jpg")
    bare = house.add(2, jpg_medium=b"jpg2")
    with pytest.raises(FileMissing):
        house.downloads.fits(bare, None)


def test_pictures_have_the_names_of_photon_ranch(house):
    base = house.add(1, fits_large=_packed(DATA))
    served = house.downloads.tiff(base, None, stretch="linear")
    assert served.name == f"V_2-linear-{base}-EX01.tif"
    assert served.media_type == "image/tiff"
    with Picture.open(io.BytesIO(_read(served))) as picture:
        assert np.array_equal(np.asarray(picture)[::-1], DATA)
    other = house.downloads.tiff(base, None)
    assert other.name.startswith("V_2-arcsinh-")
    assert _read(other) != _read(house.downloads.tiff(base, None, stretch="linear"))
    with pytest.raises(InvalidInput):
        house.downloads.tiff(base, None, stretch="log")


def test_a_cube_becomes_plain_fits_but_no_picture(house):
    cube = RNG.integers(0, 60_000, (3, 40, 50)).astype(np.uint16)
    base = house.add(1, fits_large=_packed(cube))
    with fits.open(io.BytesIO(_read(house.downloads.fits(base, None)))) as opened:
        assert np.array_equal(opened[1].data, cube)
    with pytest.raises(Cube):
        house.downloads.tiff(base, None)
    assert len(house.kept()) == 1


def test_what_was_made_is_used_again_and_kept_as_long_anew(house, monkeypatch):
    base = house.add(1, fits_large=_packed(DATA))
    first = _read(house.downloads.fits(base, None))
    (row,) = house.kept()
    digest = hashlib.sha256(_packed(DATA)).hexdigest()
    assert row.key == f"downloads/fits/{digest[:2]}/{digest}-v1.fits"
    assert row.size == len(first)
    assert row.expires_at == NOW + timedelta(hours=48)

    def never(path, target):
        raise AssertionError("made twice")

    monkeypatch.setattr("firstlight.services.finding.downloads.funpack", never)
    house.clock.now = NOW + timedelta(hours=47)
    assert _read(house.downloads.fits(base, None)) == first
    (row,) = house.kept()
    assert row.expires_at == NOW + timedelta(hours=95)


def test_what_has_expired_is_made_again(house):
    base = house.add(1, fits_large=_packed(DATA))
    first = _read(house.downloads.fits(base, None))
    (row,) = house.kept()
    house.clock.now = NOW + timedelta(hours=49)
    with house.database.begin() as session:
        assert house.leftovers.remove(session, row.key, house.clock.now) is not None
    assert not house.store.exists(row.key)
    assert _read(house.downloads.fits(base, None)) == first
    house.store.delete(row.key)  # by somebody else
    assert _read(house.downloads.fits(base, None)) == first
    assert len(house.kept()) == 1


def test_a_failed_conversion_leaves_nothing(house):
    base = house.add(1, fits_large=_packed(DATA)[:6000])
    with pytest.raises(FirstlightError):
        house.downloads.fits(base, None)
    assert house.kept() == []
    assert not list(house.store.list("downloads"))


def test_other_sites_are_not_found(house):
    base = house.add(1, fits_large=_packed(DATA))
    for ask in (house.downloads.fits, house.downloads.tiff):
        with pytest.raises(ExposureNotFound):
            ask(base, ["mrc"])
    with pytest.raises(ExposureNotFound):
        house.downloads.stored(base, f"{base}-EX01.fits.fz", [])
    with pytest.raises(NothingToDownload):
        house.downloads.zip("sro", START, START + timedelta(days=9), ["mrc"])


def test_a_file_that_expires_while_it_is_read_is_served_whole_or_refused(house):
    content = RNG.bytes(3 << 20)
    base = house.add(1, raw=content)
    served = house.downloads.stored(base, f"{base}-EX00.fits", None)
    pieces = served.pieces(0, served.size)
    first = next(pieces)
    house.store.delete(f"data/{base}-EX00.fits")
    try:
        rest = b"".join(pieces)
    except FirstlightError:
        # Refused: the reader sees that the file was cut. On a folder it need never be.
        assert not isinstance(house.store, FolderStore)
    else:
        assert first + rest == content
    with pytest.raises(FirstlightError):
        house.downloads.stored(base, f"{base}-EX00.fits", None)


def _zip(download):
    return zipfile.ZipFile(io.BytesIO(b"".join(download.pieces)))


def test_a_zip_has_the_files_of_a_period_in_order(house):
    large, small = _packed(DATA), _packed(DATA[:9, :9])
    names = [house.add(n, fits_large=large + bytes([n]), fits_small=small) for n in (1, 2)]
    names.append(house.add(3, fits_small=small + b"3"))
    bare = house.add(4, jpg_medium=b"jpg")
    house.add(9, fits_large=large + b"late")
    house.add(2, site="mrc", fits_large=large + b"other")
    end = START + timedelta(days=0.0045)

    best = house.downloads.zip("sro", START, end, None)
    assert best.name == f"sro-{int(START.timestamp())}.zip"
    assert best.files == 3
    assert best.left_out == (bare,)
    archive = _zip(best)
    assert archive.testzip() is None
    expected = [f"{names[0]}-EX01.fits.fz", f"{names[1]}-EX01.fits.fz", f"{names[2]}-EX10.fits.fz"]
    assert archive.namelist() == [*expected, "LEFT_OUT.txt"]
    assert archive.read(expected[0]) == large + b"\1"
    assert archive.read("LEFT_OUT.txt").decode() == f"{bare}\n"
    assert sum(archive.getinfo(name).file_size for name in expected) == best.size

    only = house.downloads.zip("sro", START, end, None, size="small")
    assert [name[-12:] for name in _zip(only).namelist()] == ["EX10.fits.fz"] * 3 + ["LEFT_OUT.txt"]
    most = house.downloads.zip("sro", START, end, None, size="large")
    assert most.left_out == (names[2], bare)
    again = b"".join(house.downloads.zip("sro", START, end, None).pieces)
    assert again == b"".join(house.downloads.zip("sro", START, end, None).pieces)


def test_a_period_that_ends_before_it_begins_is_told(house):
    with pytest.raises(InvalidInput, match="ends before it begins"):
        house.downloads.zip("sro", START, START - timedelta(days=1), None)


def test_a_file_removed_before_its_turn_is_told(house):
    names = [house.add(n, raw=bytes([n]) * 2880) for n in (1, 2)]
    download = house.downloads.zip("sro", START, START + timedelta(days=1), None)
    house.store.delete(f"data/{names[1]}-EX00.fits")
    archive = _zip(download)
    assert archive.namelist() == [f"{names[0]}-EX00.fits", "LEFT_OUT.txt"]
    assert names[1] in archive.read("LEFT_OUT.txt").decode()


def test_a_zip_is_streamed_and_closed_by_its_reader(house):
    for n in (1, 2, 3):
        house.add(n, fits_large=RNG.bytes(2 << 20))
    download = house.downloads.zip("sro", START, START + timedelta(days=1), None)
    assert len(next(download.pieces)) < 1 << 20
    download.pieces.close()


@pytest.mark.parametrize("size", ["best", "huge"])
def test_what_cannot_be_zipped_is_refused(house, size):
    house.add(1, fits_large=_packed(DATA))
    house.add(2, fits_large=_packed(DATA[:9]))
    with pytest.raises(InvalidInput if size == "huge" else ZipTooLarge):
        house.service(largest_zip=1).zip("sro", START, START + timedelta(days=1), None, size=size)
    with pytest.raises(NothingToDownload):
        house.downloads.zip("sro", START - timedelta(days=1), START, None)
