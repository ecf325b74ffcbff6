"""What arrivals point at, and what their names say."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.formats.base_filename import BadBaseFilename, parse_name
from firstlight.formats.file_errors import EmptyFile, NotARegularFile
from firstlight.services.intake.arrival_names import (
    final_key,
    header_rank,
    made_key,
    parse_offered,
    raw_key,
    thumbnail_name,
)
from firstlight.services.intake.arrival_sources import (
    LocalFile,
    SourceChanged,
    SourceGone,
    Sources,
    source_of_path,
    version_of_path,
)
from firstlight.storage.folder import FolderStore

BASE = "sro-kb001ms-20220629-00010442"


@pytest.fixture
def sources(tmp_path):
    buckets = {"night": FolderStore(tmp_path / "bucket")}
    return Sources(FolderStore(tmp_path / "store"), buckets.__getitem__), buckets["night"]


def _read_all_ways(offered):
    with offered.local_path() as path:
        by_path = path.read_bytes()
    with offered.stream() as stream:
        by_stream = b"".join(iter(lambda: stream.read(3), b""))
    assert by_path == by_stream == offered.read()
    assert offered.size() == len(by_path)
    return by_path


def test_paths_urls_buckets_and_the_own_store_are_read_alike(sources, tmp_path):
    opener, bucket = sources
    path = tmp_path / "a file.fits"
    path.write_bytes(b"local bytes")
    bucket.put("data/x.jpg", b"in a bucket")
    FolderStore(tmp_path / "store").put("inbox/1/x", b"uploaded")
    assert _read_all_ways(opener.open(str(path))) == b"local bytes"
    assert _read_all_ways(opener.open(path.as_uri())) == b"local bytes"
    assert _read_all_ways(opener.open("s3://night/data/x.jpg")) == b"in a bucket"
    assert _read_all_ways(opener.open("store:inbox/1/x")) == b"uploaded"


@pytest.mark.parametrize("source", ["/no/such/file", "s3://night/none", "store:none"])
def test_what_is_not_there_is_gone(sources, source):
    offered = sources[0].open(source)
    for read in (offered.size, offered.read, lambda: offered.stream().__enter__()):
        with pytest.raises(SourceGone):
            read()


def test_buckets_that_are_not_set_up_are_told(tmp_path):
    with pytest.raises(InvalidInput):
        Sources(FolderStore(tmp_path)).open("s3://other/key")


def test_names_that_are_not_text_are_found_again(sources, tmp_path):
    path = tmp_path / os.fsdecode(b"odd\xff name.fits")
    path.write_bytes(b"x")
    source = source_of_path(path)
    source.encode()
    assert sources[0].open(source).read() == b"x"


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(b"first half, ")
    offered = LocalFile(path)
    offered.size()
    with offered.stream() as stream:
        stream.read(4)
        _change(path, change)
        with pytest.raises((SourceChanged, SourceGone)):
            list(iter(lambda: stream.read(4), b""))


def _change(path, change):
    if change == "append":
        with path.open("ab") as writer:
            writer.write(b"second half")
    elif change == "replace":
        other = path.with_name("other")
        other.write_bytes(b"another file")
        other.replace(path)
    else:
        path.unlink()


def test_folders_and_empty_files_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(EmptyFile):
        LocalFile(tmp_path / "empty").size()
    with pytest.raises(NotARegularFile):
        LocalFile(tmp_path).read()


def test_a_version_tells_size_and_time(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    before = version_of_path(path)
    assert before.startswith("3:")
    os.utime(path, ns=(1, 1))
    assert version_of_path(path) == "3:1" != before
    assert version_of_path(tmp_path) == version_of_path(tmp_path / "none") == ""


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        (f"{BASE}-EX00.txt", "data"),
        (f"data/{BASE}-EX00.txt", "data"),
        (f"/archive/allsky/{BASE}-EX10.jpg", "allsky"),
        (f"2022-06-29\\info-images\\{BASE}-EX10.jpg", "info-images"),
        (f"any/folder/{BASE}-EX10.jpg", "data"),
        (f"test/{BASE}-EX10.jpg", "test"),
        (f"/home/me/test/{BASE}-EX10.jpg", "data"),
    ],
)
def test_the_folder_right_above_says_the_collection(name, collection):
    assert parse_offered(name).collection == collection


@pytest.mark.parametrize("name", ["x.fits", "a/b/c.fz", "sro-kb001ms-20221340-00010442-EX00.fits"])
def test_names_of_another_world_are_left_to_the_header(name):
    assert parse_offered(name) is None


@pytest.mark.parametrize("end", ["EX00.txt", "EX10.jpg"])
def test_a_slip_in_a_name_of_this_world_is_told(end):
    with pytest.raises(BadBaseFilename):
        parse_offered(f"data/sro-kb001ms-20221340-00010442-{end}")


@given(st.text(max_size=40))
def test_any_text_is_a_name(name):
    """It is parsed, left to the header, or refused with a reason."""
    try:
        parsed = parse_offered(name)
    except BadBaseFilename:
        return
    assert parsed is None or parsed.filename == name.replace("\\", "/").rpartition("/")[2]


def test_where_bytes_are_for_good():
    name = parse_name(f"allsky/{BASE}-EX10.jpg")
    assert final_key(name, "b" * 64) == f"allsky/sro/20220629/{BASE}-EX10.jpg"
    assert thumbnail_name(name) == f"{BASE}-EX11.jpg"
    assert made_key(name, "a" * 64) == f"made/allsky/sro/20220629/{BASE}-EX11-{'a' * 12}.jpg"
    assert raw_key("Demo", "2022-06-29", "any/x.fits") == "raw/Demo/2022-06-29/x.fits"
    panoptes = "bucket/PAN001/14d3bd/20180216T110623/20180216T113000.fits.fz"
    assert raw_key("PANOPTES", "2018-02-16", panoptes) == panoptes.replace("bucket", "raw/PANOPTES")


def test_headers_count_in_the_order_of_their_worth():
    ends = ["EX00.txt", "EX01.txt", "EX00.fits.fz", "EX01.fits.bz2", "EX10.fits.fz", "EX13.fits"]
    ranks = [header_rank(parse_name(f"{BASE}-{end}")) for end in ends]
    given = header_rank(parse_name(f"{BASE}-EX00.txt"), with_request=True)
    assert [*ranks, given] == sorted([*ranks, given])
    assert len(set(ranks)) == len(ranks)
