"""What can be wrong with a file before its format matters, and the checks that find it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from firstlight.errors import BadFile, MissingError

__all__ = [
    "BadFileName",
    "CorruptStream",
    "EmptyFile",
    "MissingFile",
    "NotARegularFile",
    "SymlinkLoop",
    "UnreadableFile",
    "UnsupportedCompression",
    "check_is_readable_file",
]


class MissingFile(MissingError, FileNotFoundError):
    """There is no such file."""

    code = "file.missing"


class NotARegularFile(BadFile):
    """The path leads to a folder or a device, not to a file."""

    code = "file.not_regular"


class UnreadableFile(BadFile):
    """The file may not be read by this user, or its disk fails."""

    code = "file.unreadable"


class SymlinkLoop(BadFile):
    """The name is a symbolic link that leads back to itself."""

    code = "file.symlink_loop"


class BadFileName(BadFile):
    """The file system cannot hold such a name."""

    code = "file.name"


class EmptyFile(BadFile):
    """The file has no bytes."""

    code = "file.empty"


class UnsupportedCompression(BadFile):
    """The file is packed in a way that is not read here."""

    code = "file.unsupported_compression"


class CorruptStream(BadFile):
    """The compressed file is damaged or cut short."""

    code = "file.corrupt_stream"


def check_is_readable_file(path: str | os.PathLike[str]) -> Path:
    """Be sure that the path is a non-empty file that can be opened.

    Returns
    -------
    Path
        The same path. Raises one of the errors of this module otherwise; a pipe or a device
        is refused without being opened, because opening one can wait for ever.
    """
    path = Path(path)
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise _explain(path, error) from error
    if stat.S_ISDIR(facts.st_mode):
        raise NotARegularFile(subject=path, found="a folder", expected="a file")
    if not stat.S_ISREG(facts.st_mode):
        raise NotARegularFile(subject=path, found="a pipe or a device", expected="a file")
    if not os.access(path, os.R_OK):
        raise UnreadableFile(subject=path, hint="check the permissions of the file")
    if facts.st_size == 0:
        raise EmptyFile(subject=path, found="0 bytes", hint="the transfer may have failed")
    return path


def _explain(path: Path, error: OSError | ValueError) -> Exception:
    if isinstance(error, ValueError):
        return BadFileName(subject=repr(str(path)), found="a null byte in the name")
    if error.errno == errno.ELOOP:
        return SymlinkLoop(subject=path)
    if error.errno == errno.ENAMETOOLONG:
        return BadFileName(
            "The name is longer than the file system allows.", subject=f"{str(path)[:80]}..."
        )
    if error.errno == errno.ENOENT:
        hint = "the link points nowhere" if path.is_symlink() else None
        return MissingFile(subject=path, hint=hint)
    if error.errno == errno.ENOTDIR:
        return MissingFile(subject=path, hint="a part of the path is a file, not a folder")
    return UnreadableFile(subject=path, found=error.strerror)
