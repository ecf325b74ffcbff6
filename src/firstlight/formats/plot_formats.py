"""What a plot is, told by its bytes: what its sender calls it does not matter."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

__all__ = ["PLOT_FORMATS", "PlotFormat", "plot_format"]

_MOST_PIXELS = 100_000_000  # of a picture that a browser is asked to show
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class PlotFormat:
    """A kind of picture.

    Attributes
    ----------
    name
        As SkyPortal's ``format``; also the suffix of a file.
    is_active
        Whether such a file can hold scripts, so that it is never opened as a page.
    """

    name: str
    media_type: str
    is_active: bool = False


PLOT_FORMATS = {
    each.name: each
    for each in (
        PlotFormat("png", "image/png"),
        PlotFormat("jpeg", "image/jpeg"),
        PlotFormat("gif", "image/gif"),
        PlotFormat("webp", "image/webp"),
        PlotFormat("svg", "image/svg+xml", is_active=True),
        PlotFormat("pdf", "application/pdf", is_active=True),
    )
}
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"%PDF-", "pdf"),
)
# What may stand before the first tag of an SVG: declaration, comments, a document type that
# declares nothing of its own (entities in one can unfold without end).
_BEFORE_ROOT = re.compile(rb"\s*(?:<\?[^>]*\?>|<!--.*?-->|<!DOCTYPE\s[^>\[]*>)", re.DOTALL)
_SVG_ROOT = re.compile(rb"\s*<(?:[A-Za-z_][\w.-]{0,40}:)?svg[\s>/]")
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|iframe|meta)[\s>/]", re.IGNORECASE)


def plot_format(data: bytes, where: str) -> PlotFormat:
    """Tell the format of a picture.

    Parameters
    ----------
    where
        What the plot is called, for messages.

    Raises
    ------
    ResultRefused
        It is a page of HTML, or an SVG that declares entities.
    ResultMalformed
        It is none of `PLOT_FORMATS`.
    ResultTooLarge
        It has more pixels than a browser can show.
    """
    for start, name in _STARTS:
        if data.startswith(start):
            _check_pixels(data, name, where)
            return PLOT_FORMATS[name]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return PLOT_FORMATS["webp"]
    if _is_svg(data):
        return PLOT_FORMATS["svg"]
    head = data[:_HEAD]
    if b"<!ENTITY" in head:
        raise ResultRefused("an SVG may not declare entities", field=where)
    if _PAGE.search(head):
        raise ResultRefused("a plot may not be a page of HTML", field=where)
    raise ResultMalformed(
        "the plot is no picture",
        field=where,
        found=repr(data[:16]),
        expected=", ".join(PLOT_FORMATS),
    )


def _is_svg(data: bytes) -> bool:
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    place = 0
    while found := _BEFORE_ROOT.match(head, place):
        place = found.end()
    return _SVG_ROOT.match(head, place) is not None


def _check_pixels(data: bytes, name: str, where: str) -> None:
    size = None
    if name == "png" and data[12:16] == b"IHDR" and len(data) >= 24:
        size = struct.unpack(">II", data[16:24])
    elif name == "gif" and len(data) >= 10:
        size = struct.unpack("<HH", data[6:10])
    if size is not None and size[0] * size[1] > _MOST_PIXELS:
        raise ResultTooLarge(
            "the plot has too many pixels",
            field=where,
            found=f"{size[0]} x {size[1]}",
            expected=f"at most {_MOST_PIXELS} pixels",
        )
