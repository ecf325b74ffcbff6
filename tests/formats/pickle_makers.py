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


def _state(state):
    parts = [b"}("]
    for key, value in state.items():
        parts.append(pickle.dumps(key, 2)[2:-1])
        parts.append(value.code if hasattr(value, "code") else pickle.dumps(value, 2)[2:-1])
    return b"".join([*parts, b"u"])


def long_bytes(claimed, data=b"abc"):
    """Bytes that are fewer than the instruction says."""
    return b"\x80\x04\x8e" + struct.pack("<Q", claimed) + data + b"."
