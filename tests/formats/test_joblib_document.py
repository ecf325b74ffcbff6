"""Results of joblib and pickle are read as data; whatever else they hold is refused, never run."""

import bz2
import collections
import contextlib
import datetime as dt
import decimal
import gzip
import io
import json
import lzma
import os
import pickle
import sys
import warnings
import zlib

import joblib
import numpy as np
import pickle_makers as makers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import OptimizeResult

from firstlight.errors import FirstlightError
from firstlight.formats.joblib_document import PickledDocument, read_joblib
from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

MOST = 10_000_000
RUN = []


def read(data):
    return read_joblib(data, most_bytes=MOST)[0]


def joblib_bytes(value, **options):
    written = io.BytesIO()
    joblib.dump(value, written, **options)
    return written.getvalue()


def document():
    """Everything that results may hold."""
    table = np.array([(1, 2.5, "a"), (3, np.nan, "bc")], [("n", "i4"), ("x", ">f8"), ("s", "U3")])
    made = {
        "plain": [1, -2.5, None, True, "text", "Ångström", b"ascii", b"\x00\xff", bytearray(b"b")],
        "numbers": {"long": 10**40, "inf": float("inf"), "nan": float("nan"), "c": 1 + 2j},
        "arrays": [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(3, dtype=">f4"),
            np.zeros((3, 0)),
            np.array(["ab", "c"]),
            np.array([b"ab", b"c"]),
            np.array([True, False]),
            np.array(7.5),
            np.arange(10)[::2],
            np.array([0.5, np.inf], np.longdouble),
            np.array([1j], np.clongdouble),
            np.array([0.5], np.float16),
            np.array([b"\x00\x01"], "V2"),
        ],
        "objects": np.array([[{"x": 1}, None], ["a", [2]]], dtype=object),
        "table": table,
        "scalars": [np.float64(1.5), np.int32(4), np.bool_(True), np.str_("q"), np.longdouble(0.5)],
        "times": [np.datetime64("2020-01-02T03:04:05"), np.array(["2020-01-01"], "M8[D]")],
        "dates": [
            dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
            dt.datetime(2020, 1, 2, 3, 4, 5, 600),  # noqa: DTZ001, results may be without a zone
            dt.date(2020, 1, 2),
            dt.time(3, 4),
            dt.timedelta(days=1.5),
            dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        ],
        "sets": [{1}, frozenset([2]), (3, (4,))],
        "decimal": decimal.Decimal("1.25"),
        "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
        "default": collections.defaultdict(list, {"k": [1]}),
        "fit": OptimizeResult(x=np.array([1.0, 2.0]), success=True, fun=0.5),
        "dtype": np.dtype("f8"),
        1: "one",
        (1, "b"): "two",
    }
    made["again"] = made["arrays"][0]
    return made


EXPECTED = {
    "plain": [1, -2.5, None, True, "text", "Ångström", "ascii", "AP8=", "b"],
    "numbers": {"long": 1e40, "inf": None, "nan": None, "c": {"real": 1.0, "imag": 2.0}},
    "arrays": [
        [[0, 1, 2], [3, 4, 5]],
        [[0, 1, 2], [3, 4, 5]],
        [0, 1, 2],
        [],
        ["ab", "c"],
        ["ab", "c"],
        [True, False],
        7.5,
        [0, 2, 4, 6, 8],
        [0.5, None],
        [{"real": 0.0, "imag": 1.0}],
        [0.5],
        ["AAE="],
    ],
    "objects": [[{"x": 1}, None], ["a", [2]]],
    "table": {"n": [1, 3], "x": [2.5, None], "s": ["a", "bc"]},
    "scalars": [1.5, 4, True, "q", 0.5],
    "times": ["2020-01-02T03:04:05", ["2020-01-01"]],
    "dates": [
        "2020-01-02T03:04:05+00:00",
        "2020-01-02T03:04:05.000600",
        "2020-01-02",
        "03:04:00",
        129600.0,
        "2020-01-02T00:00:00+02:00",
    ],
    "sets": [[1], [2], [3, [4]]],
    "decimal": 1.25,
    "ordered": {"z": 1, "a": 2},
    "default": {"k": [1]},
    "fit": {"x": [1.0, 2.0], "success": True, "fun": 0.5},
    "dtype": "float64",
    "1": "one",
    "(1, 'b')": "two",
    "again": [[0, 1, 2], [3, 4, 5]],
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": 3},
        {"compress": 9},
        {"compress": ("gzip", 3)},
        {"compress": ("bz2", 3)},
        {"compress": ("lzma", 3)},
        {"compress": ("xz", 3)},
        {"protocol": 0},
        {"protocol": 1},
        {"protocol": 2},
        {"protocol": 3},
        {"protocol": 4},
        {"protocol": 5},
    ],
    ids=str,
)
def test_joblib_is_read_as_it_was_written(options):
    assert read(joblib_bytes(document(), **options)) == EXPECTED


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_read_as_it_was_written(protocol):
    assert read(pickle.dumps(document(), protocol)) == EXPECTED


def test_the_result_of_a_real_fit():
    sncosmo = pytest.importorskip("sncosmo")
    result = sncosmo.utils.Result(
        success=True,
        chisq=np.float64(12.5),
        ndof=14,
        param_names=["z", "t0"],
        parameters=np.array([0.05, 59000.5]),
        vparam_names=["t0"],
        covariance=np.array([[0.25]]),
        errors=collections.OrderedDict([("t0", 0.5)]),
        data_mask=np.array([True, False]),
    )
    plain = read(joblib_bytes(result, compress=3))
    assert plain["parameters"] == [0.05, 59000.5]
    assert plain["covariance"] == [[0.25]]
    assert plain["errors"] == {"t0": 0.5}
    assert plain["data_mask"] == [True, False]


@pytest.mark.parametrize("module", ["sncosmo.utils", "scipy.optimize._optimize", "nestle"])
def test_dictionaries_of_libraries_need_no_library(module):
    """Whether the library is here does not matter: nothing of it is loaded."""
    name = "OptimizeResult" if "scipy" in module else "Result"
    data = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81X\x01\x00\x00\x00aK\x01s."
    assert read(data) == {"a": 1}


def test_arrays_of_older_joblib_have_no_padding():
    """Before joblib 1.2 the bytes followed at once."""
    assert read(makers.claims_array((1,), np.array([2.5]).tobytes())) == [2.5]


def test_what_reads_here_reads_with_joblib():
    data = joblib_bytes({"x": np.arange(3)}, compress=3)
    read(data)
    assert joblib.load(io.BytesIO(data))["x"].tolist() == [0, 1, 2]


def note(*arguments):
    RUN.append(arguments)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "call",
    [
        makers.Calls(note, "seen"),
        makers.Calls(eval, "RUN.append(1)"),
        makers.Calls(os.system, "false"),
        makers.Calls(exec, "1"),
        makers.Calls(getattr, {}, "clear"),
        makers.Calls(__import__, "os"),
        makers.Calls(open, "nowhere"),
        makers.Calls(np.load, "nowhere"),
        makers.Calls(np.fromfile, "nowhere"),
        makers.Calls(np.ones, 10),
        makers.Calls(sys.exit, 0),
    ],
    ids=lambda call: call.function.__name__,
)
def test_calls_are_refused(call, protocol):
    for value in (call, {"results": [1, {"deep": call}]}, np.array([call], dtype=object)):
        for data in (pickle.dumps(value, protocol), joblib_bytes(value, protocol=protocol)):
            with pytest.raises(ResultRefused) as told:
                read(data)
            assert told.value.code == "analysis.result_refused"
    assert not RUN


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "load"),
        ("joblib.numpy_pickle", "load"),
        ("joblib.numpy_pickle_compat", "NDArrayWrapper"),
        ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
        ("numpy.", "dtype"),
        ("collections", "OrderedDict.fromkeys"),
        ("datetime", "datetime.now"),
        ("sncosmo.utils", "warnings.warn"),
    ],
)
def test_names_are_told_when_they_are_refused(module, name):
    for data in (makers.named_call(module, name), makers.instance(module, name)):
        with pytest.raises(ResultRefused) as told:
            read(data)
        assert told.value.found == f"{module}.{name}"
    with pytest.raises(ResultRefused):
        read(makers.stack_named_call(module, name))


@pytest.mark.parametrize(("module", "name"), [("numpy ndarray", ""), ("", "numpy ndarray")])
def test_names_cannot_be_split_in_two_ways(module, name):
    for data in (makers.named_call(module, name), makers.stack_named_call(module, name)):
        with pytest.raises(ResultRefused):
            read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02P1\n.",  # of another program's memory
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",  # a number for a class
        b"\x80\x05\x97.",  # a buffer that is elsewhere
        b"\x80\x02cbuiltins\nfloat\n}b.",  # a type is changed
        b"\x80\x02cbuiltins\nint\nX\x01\x00\x00\x001\x85R.",  # the marker of a type is called
        b"\x80\x02K\x01}b.",  # a number gets attributes
        b"\x80\x02)K\x01a.",  # a tuple is added to
        b"\x80\x02]K\x01K\x02s.",  # a list is used as a dictionary
        b"\x80\x02ccollections\nOrderedDict\n)}X\x01\x00\x00\x00aK\x01s\x92.",  # keywords
        b"\x80\x02ccopyreg\n_reconstructor\ncbuiltins\nfloat\ncbuiltins\nobject\nN\x87R.",
    ],
)
def test_instructions_that_reach_out_are_refused(data):
    with pytest.raises(ResultRefused):
        read(data)


@pytest.mark.parametrize(
    ("make", "runs"),
    [
        (makers.in_a_frame_that_goes_on, True),
        (makers.with_flags_of_objects, True),
        (makers.in_an_inner_frame_that_goes_on, True),
        (makers.with_objects_of_no_flags, False),
        (makers.of_another_size, False),
        (makers.filled_twice, False),
    ],
)
def test_what_means_one_thing_here_and_another_to_joblib_is_refused(make, runs):
    """What is kept as it was sent is loaded by people, with joblib: it must be what we saw."""
    data = make(makers.canary(__name__, "note"))
    with pytest.raises((ResultRefused, ResultMalformed)):
        read(data)
    assert not RUN
    if runs:  # so it would have been dangerous indeed
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            joblib.load(io.BytesIO(data))  # what it makes of the rest does not matter
        seen = RUN[:]
        RUN.clear()
        assert seen == [()]


def test_subclasses_of_arrays_are_refused():
    with pytest.raises(ResultRefused):
        read(joblib_bytes(np.ma.array([1, 2], mask=[0, 1])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"nothing",
        b"\x80\x04",
        b"\x80\x02K\x01",
        b"\x80\x02h\x05.",
        b"\x80\x02K\x01.K\x01.",
        pickle.dumps([1]) + b"\x00",
        makers.claims_array((10**12,)),
        makers.claims_array((2**62, 2**62)),
        makers.claims_array((10**9, 0)) + b"x",
        makers.claims_array((-1,)),
        makers.claims_array(("a",)),
        makers.claims_array([1]),
        makers.claims_array((1,) * 100),
        makers.long_bytes(2**60),
        makers.long_bytes(2**64 - 1),
        b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x80\x02}]K\x01s.",
        zlib.compress(b""),
        gzip.compress(pickle.dumps([1]))[:-9],
        bz2.compress(pickle.dumps([1]))[:-4],
        lzma.compress(pickle.dumps([1]))[:-4],
        b"x\x9c" + b"\x00" * 20,
        b"ZF0x1a" + b" " * 20,
        b"\x04\x22\x4d\x18" + b"\x00" * 20,
    ],
    ids=range(27),
)
def test_damaged_data_are_malformed(data):
    with pytest.raises(ResultMalformed):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        makers.nested(100),
        makers.nested(100_000),
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
    ],
)
def test_values_that_unfold_without_end_are_too_large(data):
    with pytest.raises(ResultTooLarge):
        read(data)


def test_lists_that_double_are_too_large():
    with pytest.raises(ResultTooLarge):
        read_joblib(
            makers.doubling(60), most_bytes=MOST, document=PickledDocument(most_values=50_000)
        )


@pytest.mark.parametrize("data", [makers.doubling_key(60), makers.nested_tuples(100_000)])
def test_keys_that_take_for_ever_to_hash_are_malformed(data):
    with pytest.raises(ResultMalformed):
        read(data)


@pytest.mark.parametrize(
    "pack",
    [
        zlib.compress,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ],
)
def test_data_that_unpack_to_too_much_are_too_large(pack):
    bomb = pack(b"\x80\x04" + b"0" * 5_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(ResultTooLarge):
        read_joblib(bomb, most_bytes=1_000_000)


def test_long_texts_that_come_again_are_counted():
    text = "x" * 10_000
    data = pickle.dumps([text] * 5000)
    assert len(data) < 30_000
    with pytest.raises(ResultTooLarge):
        read(data)


def test_long_arrays_are_told_and_not_shown():
    plain, notes = read_joblib(joblib_bytes({"a": np.zeros((500, 500))}), most_bytes=MOST)
    assert plain == {"a": {"shape": [500, 500], "dtype": "float64", "values": None}}
    assert "1 arrays" in notes[0]


def test_numbers_that_json_has_not_are_null_and_told():
    plain, notes = read_joblib(joblib_bytes(np.array([1.0, np.nan, -np.inf])), most_bytes=MOST)
    assert plain == [1.0, None, None]
    assert "2 numbers were not finite" in notes[0]


def test_limits_can_be_set():
    with pytest.raises(ResultTooLarge):
        read_joblib(
            pickle.dumps(list(range(100))),
            most_bytes=MOST,
            document=PickledDocument(most_values=50),
        )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)  # fmt: skip


@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_values_come_back(value, protocol):
    expected = json.loads(json.dumps(value).replace("\\u0000", ""))
    assert read(pickle.dumps(value, protocol)) == expected


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        read(b"\x80\x04" + data)
    except FirstlightError as fault:
        assert fault.code.startswith("analysis.result_")  # noqa: PT017, a value is right as well


GENUINE = [pickle.dumps(document(), each) for each in range(6)] + [joblib_bytes(document())]


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_pickles_are_read_or_refused(data):
    damaged = bytearray(data.draw(st.sampled_from(GENUINE)))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        what = data.draw(st.sampled_from(["set", "drop", "insert", "copy"]))
        if what == "set":
            damaged[place] = data.draw(st.integers(0, 255))
        elif what == "drop":
            del damaged[place : place + data.draw(st.integers(1, 20))]
        elif what == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            damaged[place:place] = damaged[: data.draw(st.integers(1, 50))]
        if not damaged:
            break
    try:
        plain = read(bytes(damaged))
    except FirstlightError as fault:
        assert fault.code.startswith("analysis.result_")  # noqa: PT017, a value is right as well
    else:
        json.dumps(plain, allow_nan=False)
    assert not RUN
