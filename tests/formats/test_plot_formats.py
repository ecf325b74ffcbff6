"""The format of a plot is told by its bytes."""

import io
import struct

import matplotlib as mpl
import pytest
from PIL import Image

from firstlight.formats.plot_formats import plot_format
from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

mpl.use("agg")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def picture(kind):
    written = io.BytesIO()
    Image.new("RGB", (3, 2)).save(written, kind)
    return written.getvalue()


def drawn(kind):
    from matplotlib.figure import Figure  # noqa: PLC0415, after the choice of a backend

    written = io.BytesIO()
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    figure.savefig(written, format=kind)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_pictures(kind):
    found = plot_format(picture(kind), "plot")
    assert (found.name, found.media_type, found.is_active) == (kind, f"image/{kind}", False)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_of_matplotlib(kind):
    found = plot_format(drawn(kind), "plot")
    assert (found.name, found.is_active) == (kind, kind != "png")


@pytest.mark.parametrize(
    "data",
    [
        SVG,
        b"\xef\xbb\xbf" + SVG,
        b"<?xml version='1.0'?>\n<!-- made\nby -->\n" + SVG,
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd">' + SVG,
        b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>",
    ],
)
def test_svg_is_known_and_active(data):
    assert plot_format(data, "plot").is_active


@pytest.mark.parametrize(
    "data",
    [
        b"<html><script>alert(1)</script></html>",
        b"<!DOCTYPE html><p>",
        b"  \n<HTML >",
        b"text <script>alert(1)</script>",
        b"<!doctype html><svg></svg>",
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>',
        b"<x><iframe src=/></x>",
    ],
)
def test_pages_and_entities_are_refused(data):
    with pytest.raises(ResultRefused) as told:
        plot_format(data, "analysis.plots[1].data")
    assert told.value.field == "analysis.plots[1].data"


@pytest.mark.parametrize("data", [b"", b"x", b"MZ\x90", b"<p>", b"{}", b"RIFF1234WAVE", b"<svgx>"])
def test_other_bytes_are_no_plot(data):
    with pytest.raises(ResultMalformed):
        plot_format(data, "plot")


@pytest.mark.parametrize(
    "data",
    [
        picture("png")[:16] + struct.pack(">II", 60_000, 60_000) + b"\x08\x02",
        b"GIF89a" + struct.pack("<HH", 65_000, 65_000),
    ],
)
def test_pictures_that_no_browser_can_show(data):
    with pytest.raises(ResultTooLarge):
        plot_format(data, "plot")
