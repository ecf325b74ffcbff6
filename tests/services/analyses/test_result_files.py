"""What is small is stored as one file, and each part of it has a checksum of its own."""

import hashlib
import io
import zipfile

import pytest

from firstlight.models.analysis import AnalysisFile, AnalysisFileKind
from firstlight.services.analyses.result_files import (
    ResultFileDamaged,
    ResultFileMissing,
    ResultFiles,
)
from firstlight.services.analyses.submissions import Product
from firstlight.storage.folder import FolderStore

RESULTS = Product(AnalysisFileKind.RESULTS, 0, "", "application/json", b'{"chi2": 1.0}')
PLOTS = [
    Product(AnalysisFileKind.PLOT, number, "", "image/png", b"picture %d" % number)
    for number in range(2)
]
DRAWN = Product(AnalysisFileKind.POSTERIOR, 0, "drawn", "application/json", b"")


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "data")


@pytest.fixture
def files(store):
    return ResultFiles(store=store)


def keys(store):
    return [entry.key for entry in store.list("")]


def test_small_products_are_one_file_that_anybody_can_open(store, files):
    kept = files.keep(1234, [RESULTS, *PLOTS, DRAWN])
    (key,) = keys(store)
    assert {each.key for each in kept} == {key}
    assert key.startswith("portal/analyses/1/1234-")
    for product, each in zip([RESULTS, *PLOTS, DRAWN], kept, strict=True):
        assert files.read(each) == b"".join(files.pieces(each)) == product.data
        assert (each.size, each.sha256) == (
            len(product.data), hashlib.sha256(product.data).hexdigest(),
        )  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(store.read(key))) as opened:
        assert opened.namelist() == [
            "results-0.json", "plot-0.png", "plot-1.png", "posterior-drawn-0.json",
        ]  # fmt: skip
    files.discard(kept)
    assert keys(store) == []


def test_a_row_from_the_database_finds_its_part(files):
    _, kept, _ = files.keep(7, [RESULTS, *PLOTS])
    row = AnalysisFile(
        analysis_id=7, kind="plot", number=0, name="", media_type="image/png",
        key=kept.key, size=kept.size, sha256=kept.sha256,
    )  # fmt: skip
    assert files.read(row) == PLOTS[0].data


def test_products_on_disk_and_single_ones_are_files_of_their_own(store, files, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(b"much")
    on_disk = Product(AnalysisFileKind.INFERENCE_DATA, 0, "", "application/x-netcdf", large)
    assert len({each.key for each in files.keep(7, [RESULTS, on_disk])}) == 2
    (alone,) = files.keep(7, [RESULTS])
    assert alone.key.endswith("-results-0.json")
    assert store.read(alone.key) == files.read(alone) == RESULTS.data
    assert len(keys(store)) == 3


def test_what_has_changed_in_one_part_is_told_of_that_part(store, files):
    results, plot, _ = files.keep(7, [RESULTS, *PLOTS])
    whole = store.read(results.key)
    store.put(results.key, whole.replace(b"picture 0", b"picture 9"), overwrite=True)
    assert files.read(results) == RESULTS.data
    with pytest.raises(ResultFileDamaged) as told:
        files.read(plot)
    assert told.value.expected == plot.sha256
    with pytest.raises(ResultFileDamaged):
        files.pieces(plot)


@pytest.mark.parametrize("spoil", [lambda data: data[:-30], lambda _: b"another", lambda _: b""])
def test_a_bundle_that_cannot_be_opened_is_damaged(store, files, spoil):
    kept = files.keep(7, [RESULTS, *PLOTS])
    store.put(kept[0].key, spoil(store.read(kept[0].key)), overwrite=True)
    for each in kept:
        with pytest.raises(ResultFileDamaged):
            files.read(each)
    store.delete(kept[0].key)
    with pytest.raises(ResultFileMissing):
        files.read(kept[0])
