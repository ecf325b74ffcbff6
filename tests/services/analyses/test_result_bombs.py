"""Bodies that are made to exhaust or to take over whoever reads them.

Each is answered with an error, or read within the limits; the server's own memory hardly grows.
"""

import base64
import bz2
import gc
import gzip
import io
import json
import lzma
import os
import pickle
import re
import sys
import zlib
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest

from firstlight.formats.posterior_samples import unpack
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.submissions import (
    ResultMalformed,
    ResultRefused,
    ResultTooLarge,
    ResultUnreadable,
    SubmissionReader,
)
from firstlight.work import freed_memory

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells how much memory a process had at most"
)


def _memory(what):
    return int(re.search(rf"{what}:\s+(\d+) kB", STATUS.read_text()).group(1)) / 1024


@pytest.fixture
def reader():
    return SubmissionReader(AnalysisSettings(reader_timeout_s=30))


@pytest.fixture
def growth():
    """Megabytes by which this process has grown at its worst since the last question."""
    # Memory that earlier tests have freed and the allocator has kept would be used without a trace.
    gc.collect()
    freed_memory.give_back()
    try:
        RESET.write_text("5")
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    before = _memory("VmRSS")
    return lambda: _memory("VmHWM") - before


def test_the_growth_is_seen(growth):
    held = bytearray(os.urandom(1 << 20)) * 80
    del held
    assert 50 < growth() < 120


def body_of(path, analysis):
    """Write a body in pieces, so that the test itself needs no memory for it."""
    with path.open("wb") as file:
        file.write(b'{"status": "success", "message": "", "analysis": ')
        for piece in analysis:
            file.write(piece)
        file.write(b"}")
    return path


def joblib_body(path, data):
    return body_of(
        path,
        [b'{"results": {"format": "joblib", "data": "', base64.b64encode(data), b'"}}'],
    )


def some_slow(names, *quick):
    return [each if each in quick else pytest.param(each, marks=pytest.mark.slow) for each in names]


class Call:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def compressed(pack, size):
    """So many zeros, packed without ever being held."""
    packer = pack()
    pieces = [packer.compress(b"\x80\x04" + b"\x00" * 1_000_000)]
    zeros = b"\x00" * 10_000_000
    pieces += [packer.compress(zeros) for _ in range(size // len(zeros))]
    pieces.append(packer.flush())
    return b"".join(pieces)


PICKLES = {
    "system": lambda: pickle.dumps(Call(os.system, "kill -9 $PPID")),
    "eval": lambda: pickle.dumps([Call(eval, "__import__('os')._exit(1)")]),
    "within": lambda: pickle.dumps(Call(dict, [(1, Call(exec, "1"))])),
    "joblib": lambda: joblib_bytes({"x": np.array([Call(eval, "1")], dtype=object)}, compress=3),
    "bytearray": lambda: pickle.dumps(Call(bytearray, 10**12)),
    "ones": lambda: pickle.dumps(Call(np.ones, (10**6, 10**6))),
    "repeat": lambda: b"cbuiltins\nlist\n(cbuiltins\nrange\n(I1000000000000\ntRtR.",
}


def joblib_bytes(value, **options):
    written = io.BytesIO()
    joblib.dump(value, written, **options)
    return written.getvalue()


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_bombs_are_refused(name, reader, growth, tmp_path):
    with pytest.raises((ResultRefused, ResultMalformed)):
        reader.read(joblib_body(tmp_path / "body", PICKLES[name]()))
    assert growth() < 20


def doubled(times):
    return b"\x80\x02]" + b"q\x00]q\x01(h\x00h\x00e" * times + b"."


MEMORY = {
    "doubling": lambda: doubled(100),
    "text": lambda: pickle.dumps(["x" * 1_000_000] * 1_000_000),
    "nested": lambda: b"\x80\x02" + b"]" * 5_000_000 + b"a" * 4_999_999 + b".",
    "instructions": lambda: b"\x80\x02](" + b"K\x01" * 10_000_000 + b"e.",
    "lists": lambda: b"\x80\x02](" + b"]" * 30_000_000 + b"e.",
    "memo": lambda: b"\x80\x04]" + b"\x94" * 30_000_000 + b".",
}


@pytest.mark.parametrize("name", some_slow(MEMORY, "doubling", "text"))
def test_pickles_that_unfold_are_too_large(name, reader, growth, tmp_path):
    path = joblib_body(tmp_path / "body", MEMORY[name]())
    before = growth()
    with pytest.raises((ResultTooLarge, ResultUnreadable)):
        reader.read(path)
    assert growth() < before + 20


@pytest.mark.parametrize(
    "shape",
    [(10**12,), (2**31, 2**31), (1,) * 33, (10**6, 0, 10**6), (0, 10**15), (-1,)],
)
def test_arrays_of_any_shape_take_no_memory(shape, reader, growth, tmp_path):
    state = pickle.dumps((1, shape, np.dtype("f8"), False, b""), 2)[2:-1]
    made = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
    path = joblib_body(tmp_path / "body", b"\x80\x02" + made + state + b"b.")
    if 0 in shape:
        with reader.read(path) as found:
            kept = {str(each.kind): each.data.read_bytes() for each in found.products}
        assert kept["results"] == b"[]"
    else:
        with pytest.raises(ResultMalformed):
            reader.read(path)
    assert growth() < 20


COMPRESSIONS = {
    "zlib": lambda: zlib.compressobj(9),
    "gzip": lambda: zlib.compressobj(9, zlib.DEFLATED, 31),
    "bz2": bz2.BZ2Compressor,
    "xz": lambda: lzma.LZMACompressor(preset=1),
    "lzma": lambda: lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=1),
}


@pytest.mark.parametrize("name", some_slow(COMPRESSIONS, "zlib"))
def test_archives_that_unpack_to_too_much_are_too_large(name, reader, growth, tmp_path):
    bomb = compressed(COMPRESSIONS[name], 500_000_000)
    assert len(bomb) < 1_000_000
    path = joblib_body(tmp_path / "body", bomb)
    before = growth()
    with pytest.raises(ResultTooLarge):
        reader.read(path)
    assert growth() < before + 20


def test_bombs_in_bombs_are_not_followed(reader, growth, tmp_path):
    inner = gzip.compress(gzip.compress(b"\x00" * 10_000_000))
    with pytest.raises(ResultMalformed):
        reader.read(joblib_body(tmp_path / "body", inner))
    assert growth() < 40


def many(piece, count, each=1_000_000):
    for _ in range(count // each):
        yield piece * each


JSONS = {
    "100 MB of numbers": [b'{"posterior_samples": {"a": [', *many(b"1,", 50_000_000), b"0]}}"],
    "60 MB of lists": [b'{"results": {"data": [', *many(b"[],", 20_000_000), b"0]}}"],
    "60 MB of objects": [b'{"results": {"data": [', *many(b"{},", 20_000_000), b"0]}}"],
    "40 MB of depth": [*many(b"[", 40_000_000)],
    "40 MB of depth in objects": [*many(b'{"a":', 8_000_000)],
    "30 MB of texts": [b'{"results": {"data": [', *many(b'"",', 10_000_000), b"0]}}"],
}


@pytest.mark.parametrize("name", some_slow(JSONS, "60 MB of lists"))
def test_much_json_is_too_large(name, reader, growth, tmp_path):
    path = body_of(tmp_path / "body", JSONS[name])
    before = growth()
    with pytest.raises((ResultTooLarge, ResultMalformed)):
        reader.read(path)
    assert growth() < before + 20


def test_keys_that_meet_do_not_take_for_ever(reader, growth, tmp_path):
    """Whole numbers as keys can be chosen so that a dictionary takes quadratic time."""
    keys = b"".join(pickle.dumps(each * (2**61 - 1), 2)[2:-1] + b"K\x01" for each in range(40_000))
    limited = SubmissionReader(AnalysisSettings(reader_timeout_s=2))
    path = joblib_body(tmp_path / "body", b"\x80\x02}(" + keys + b"u.")
    with pytest.raises((ResultUnreadable, ResultMalformed, ResultTooLarge)):
        limited.read(path)
    assert growth() < 40


def test_a_long_number_is_no_work(reader, growth, tmp_path):
    path = body_of(tmp_path / "body", [b'{"results": {"data": ', b"9" * 20_000_000, b"}}"])
    with pytest.raises(ResultMalformed):
        reader.read(path)
    assert growth() < 40


def test_a_million_samples_are_read(reader, growth, tmp_path):
    numbers = b",".join(b"%.12f" % each for each in np.random.default_rng(1).normal(size=10_000))
    pieces = [b'{"posterior_samples": {']
    for name in (b"a", b"b"):
        pieces += [b'"%s": [' % name, *([numbers + b","] * 99), numbers, b"],"]
    pieces[-1] = b"]}}"
    with reader.read(body_of(tmp_path / "body", pieces)) as found:
        assert found.facts["drawn_of"] == {"model": 1_000_000}
        packed = next(each for each in found.products if not each.name)
        size = packed.data.stat().st_size
        assert size > 15_000_000
    assert growth() < 60


def test_a_million_samples_of_arviz_are_read(reader, growth, tmp_path):
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        group = file.create_group("posterior")
        for name, length in (("chain", 4), ("draw", 250_000)):
            group[name] = np.arange(length)
            group[name].make_scale(name)
        group["mu"] = np.arange(1e6).reshape(4, 250_000)
        group["sigma"] = np.arange(1e6).reshape(4, 250_000)
    sent = base64.b64encode(written.getvalue())
    path = body_of(tmp_path / "body", [b'{"inference_data": {"data": "', sent, b'"}}'])
    before = growth()
    with reader.read(path) as found:
        assert found.facts["draws"] == {"posterior": 1_000_000}
        assert growth() < before + 20
        packed = next(
            each for each in found.products if str(each.kind) == "posterior" and not each.name
        )
        assert unpack(packed.data)["posterior"].values[1, -1] == 999_999


def test_a_body_over_the_limit_is_not_even_opened(growth, tmp_path):
    path = tmp_path / "body"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)  # takes no room on the disk
    with pytest.raises(ResultTooLarge):
        SubmissionReader().read(path)
    assert growth() < 5


def test_a_small_body_of_json_never_starts_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    path = body_of(tmp_path / "body", [json.dumps({"results": {"data": {"a": 1}}}).encode()])
    assert SubmissionReader().read(path).facts["has_results"]
