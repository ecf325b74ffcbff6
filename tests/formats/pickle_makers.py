"""Pickles that no honest program writes."""

import pickle
import struct


class Calls:
    """Pickled, it is a call of something with something."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def named_call(module, name, argument="x"):
    """A call of what need not exist here."""
    code = f"c{module}\n{name}\n".encode()
    return b"\x80\x02" + code + pickle.dumps(argument, 2)[2:-1] + b"\x85R."


def stack_named_call(module, name, argument="x"):
    """The same by the newer instruction."""
    texts = b"".join(b"\x8c" + bytes([len(each)]) + each.encode() for each in (module, name))
    return b"\x80\x04" + texts + b"\x93" + pickle.dumps(argument, 2)[2:-1] + b"\x85R."


def instance(module, name):
    """By the oldest instruction."""
    return b"(S'x'\ni" + f"{module}\n{name}\n".encode() + b"."


def doubling(times):
    """A list of two lists of two lists ..., each the same one: 2**times in a few bytes."""
    inner = b"]"
    for _ in range(times):
        inner = inner + b"q\x00]q\x01(h\x00h\x00eq\x00"
    return b"\x80\x02" + inner + b"."


def doubling_key(times):
    """A dictionary whose key is a tuple of two tuples of two tuples ..."""
    return b"\x80\x02})q\x000" + b"h\x00h\x00\x86q\x000" * times + b"h\x00K\x01s."


def nested(times, end=b"."):
    """A list in a list in a list ..."""
    return b"\x80\x02" + b"]" * times + b"a" * (times - 1) + end


def nested_tuples(times):
    """A tuple in a tuple ... as a key, so that it would be hashed."""
    return b"\x80\x02})" + b"\x85" * times + b"K\x01s."


def claims_array(shape, data=b"\x00" * 8):
    """An array of joblib that says that it has this shape."""
    state = {
        "subclass": _Name("numpy", "ndarray"),
        "shape": shape,
        "order": "C",
        "dtype": _Dtype(),
        "allow_mmap": False,
    }
    head = b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81"
    return head + _state(state) + b"b" + data + b"."


class _Name:
    def __init__(self, module, name):
        self.code = f"c{module}\n{name}\n".encode()


class _Dtype:
    code = b"cnumpy\ndtype\n" + pickle.dumps(("f8", False, True), 2)[2:-1] + b"R"


def wrapped(shape, dtype, *, put=b""):
    """Joblib's mark of an array, up to the instruction behind which its bytes stand."""
    state = {
        "subclass": _Name("numpy", "ndarray"),
        "shape": shape,
        "order": "C",
        "dtype": dtype,
        "allow_mmap": False,
    }
    return b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + put + _state(state) + b"b"


class Dtype:
    """A type of numbers with any state."""

    def __init__(self, code, *state):
        self.code = b"cnumpy\ndtype\n" + _plain((code, False, True)) + b"R"
        if state:
            self.code += _plain(state) + b"b"


def _plain(value):
    return pickle.dumps(value, 2)[2:-1]


def canary(module, name):
    """A call that is seen, of an odd number of bytes."""
    call = f"c{module}\n{name}\n".encode() + b")R."
    return call if len(call) % 2 else b"N" + call


def in_a_frame_that_goes_on(call):
    """To joblib the array lies behind the frame, and what follows in it are instructions."""
    inside = wrapped((len(call),), Dtype("u1")) + call
    behind = b"N0" * (len(call) // 2) + b"."
    return b"\x80\x04\x95" + struct.pack("<Q", len(inside)) + inside + behind


def with_flags_of_objects(call):
    """To numpy the type holds objects, so that joblib reads another pickle."""
    dtype = Dtype("u1", 3, "|", None, None, None, -1, -1, 63)
    return b"\x80\x04" + wrapped((len(call),), dtype) + call + b"."


def with_objects_of_no_flags(call):
    """To numpy the type holds no objects, so that joblib reads pointers."""
    dtype = Dtype("O8", 3, "|", None, None, None, -1, -1, 0)
    return b"\x80\x04" + wrapped((1,), dtype) + b"\x80\x04]Na." + b"."


def in_an_inner_frame_that_goes_on(call):
    """To joblib the inner frame swallows the head of a text, whose body are instructions."""
    dtype = Dtype("O8", 3, "|", None, None, None, -1, -1, 63)
    head = b"B" + struct.pack("<I", len(call))
    array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    inner = array + b"." + head
    frame = b"\x80\x04\x95" + struct.pack("<Q", len(inner)) + inner
    return b"\x80\x04" + wrapped((1,), dtype) + frame + call + b"0."


def of_another_size(call):
    """To numpy an item has another size than its fields or letters make."""
    dtype = Dtype("U1", 3, "<", None, None, None, 7, 4, 8)
    return b"\x80\x04" + wrapped((1,), dtype) + call.ljust(7, b".") + b"."


def filled_twice(call):
    """The mark is taken from the memo, where to joblib it is no array."""
    data = b"\x01"
    first = wrapped((1,), Dtype("u1"), put=b"q\x00") + data
    return b"\x80\x04" + first + b"h\x00}b" + call


def _state(state):
    parts = [b"}("]
    for key, value in state.items():
        parts.append(pickle.dumps(key, 2)[2:-1])
        parts.append(value.code if hasattr(value, "code") else pickle.dumps(value, 2)[2:-1])
    return b"".join([*parts, b"u"])


def long_bytes(claimed, data=b"abc"):
    """Bytes that are fewer than the instruction says."""
    return b"\x80\x04\x8e" + struct.pack("<Q", claimed) + data + b"."
