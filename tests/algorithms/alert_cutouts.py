"""Alerts of other surveys in Avro, read by the schema that each file holds."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning


class Alert(NamedTuple):
    """Cut-outs with the difference as new minus reference, and what the survey thought of it."""

    pixels: np.ndarray
    sign: float
    score: float


class Reader:
    """Values of a block of Avro bytes, one after the other."""

    def __init__(self, data):
        self.data, self.place, self.named = data, 0, {}

    def take(self, count):
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self):
        """Variable length, zigzag."""
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return (value >> 1) ^ -(value & 1)

    def read(self, schema) -> Any:
        if isinstance(schema, list):
            return self.read(schema[self.number()])
        if isinstance(schema, str):
            return self.read(self.named[schema]) if schema in self.named else self._plain(schema)
        kind = schema["type"]
        if kind == "record":
            self._name(schema)
            return {field["name"]: self.read(field["type"]) for field in schema["fields"]}
        if kind in ("array", "map"):
            return self._items(schema)
        return self.read(kind)

    def _name(self, schema):
        self.named[schema["name"]] = schema
        self.named[f"{schema.get('namespace')}.{schema['name']}"] = schema

    def _items(self, schema):
        found = []
        while (count := self.number()) != 0:
            if count < 0:
                count = -count
                self.number()
            for _ in range(count):
                if schema["type"] == "map":
                    found.append((self.take(self.number()).decode(), self.read(schema["values"])))
                else:
                    found.append(self.read(schema["items"]))
        return dict(found) if schema["type"] == "map" else found

    def _plain(self, kind):
        if kind == "null":
            return None
        if kind == "boolean":
            return self.take(1) != b"\0"
        if kind in ("int", "long"):
            return self.number()
        if kind in ("float", "double"):
            return struct.unpack(f"<{kind[0]}", self.take(4 if kind == "float" else 8))[0]
        data = self.take(self.number())
        return data.decode() if kind == "string" else data


def read_packet(path):
    """The first alert of a file."""
    reader = Reader(path.read_bytes())
    assert reader.take(4) == b"Obj\1"
    meta = reader.read({"type": "map", "values": "bytes"})
    reader.take(16)
    schema = json.loads(meta["avro.schema"])
    _register(reader, schema)
    reader.number()
    reader.number()
    return reader.read(schema)


def _register(reader, schema):
    """Types may be named before they are told."""
    if isinstance(schema, dict):
        if schema.get("type") == "record":
            reader._name(schema)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _register(reader, part)


def read_alert(path, side):
    """One alert; cut-outs of `side` pixels."""
    packet = read_packet(path)
    told = packet["candidate"]
    pixels = []
    for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
        data = packet[name]
        data = data["stampData"] if isinstance(data, dict) else data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # their headers are not all standard
            with fits.open(io.BytesIO(gzip.decompress(data))) as file:
                image = np.array(file[0].data, np.float32)
        start = (len(image) - side) // 2
        pixels.append(image[start : start + side, start : start + side])
    sign = 1.0 if told["isdiffpos"] in ("t", "1") else -1.0
    # What has faded is cut from the reference less the new image.
    pixels[2] = sign * pixels[2]
    score = told.get("drb")
    return Alert(np.stack(pixels), sign, float(told["rb"] if score is None else score))
