"""What a name says of a file: whose it is, what it is to it, and where its bytes will be."""

from __future__ import annotations

from firstlight.formats.base_filename import (
    BadBaseFilename,
    Collection,
    FileName,
    Role,
    looks_like_base_filename,
    parse_name,
)
from firstlight.formats.panoptes_path import parse_path
from firstlight.storage import build_key, safe_segment

__all__ = ["final_key", "header_rank", "made_key", "parse_offered", "raw_key", "thumbnail_name"]

_REQUEST_RANK = 400
_RANKS = {Role.HEADER_TEXT: 0, Role.FITS_LARGE: 100, Role.FITS_SMALL: 200}
_OTHER_RANK = 300
_NOT_FITS = (".txt", ".jpg", ".jpeg")


def parse_offered(name: str) -> FileName | None:
    """Read a name as its sender gave it, with whatever folders.

    Only the folder right above the file can say the collection: sites put files into folders
    of their own making too.

    Returns
    -------
    FileName or None
        None for a name of another world, whose file tells by its header what it is.

    Raises
    ------
    BadBaseFilename
        The name was meant to be of this grammar, and is of no file that could tell itself.
    """
    folders, _, last = name.replace("\\", "/").rpartition("/")
    above = folders.rpartition("/")[2]
    # Many a folder is called "test"; only a whole name can mean the collection.
    given = {*Collection} if above == folders else {*Collection} - {Collection.TEST}
    key = f"{above}/{last}" if above in given else last
    try:
        return parse_name(key)
    except BadBaseFilename:
        if last.lower().endswith(_NOT_FITS) and looks_like_base_filename(last):
            raise
        return None


def final_key(name: FileName, sha256: str) -> str:
    """Where the bytes of a file of the grammar are for good.

    A file of an exposure is written once. One of an info image may be replaced by another of
    the same name, which has another place.
    """
    own = [sha256[:12]] if name.collection is Collection.INFO_IMAGES else []
    return build_key(*_folder(name), *own, name.filename)


def _folder(name: FileName) -> tuple[str, str, str]:
    return name.collection.value, name.site, name.base_filename.split("-")[2]


def raw_key(instrument: str, night: str, name: str) -> str:
    """Where the bytes of a plain exposure are for good."""
    path = parse_path(name)
    if path is not None:  # the file's own name is only a time, which two cameras may share
        return build_key("raw", safe_segment(instrument), *path.canonical().split("/"))
    return build_key("raw", safe_segment(instrument), night, safe_segment(name.rpartition("/")[2]))


def thumbnail_name(name: FileName) -> str:
    """Name of the thumbnail that belongs to a medium picture."""
    return f"{name.base_filename}-{name.data_type}11.jpg"


def made_key(name: FileName, sha256: str) -> str:
    """Where a thumbnail made of a file is; another picture's has another place."""
    stem = thumbnail_name(name).removesuffix(".jpg")
    return build_key("made", *_folder(name), f"{stem}-{sha256[:12]}.jpg")


def header_rank(name: FileName, *, with_request: bool = False) -> int:
    """How much the header of a file counts, the lowest most.

    Text before large before small FITS before cards that came with the request to upload;
    among equals the lower reduction level.
    """
    kind = _REQUEST_RANK if with_request else _RANKS.get(name.role, _OTHER_RANK)
    return kind + int(name.reduction_level)
