"""Files that have come to rest in a folder, found by looking: it works on every file system.

Inotify and its kin are silent about what other machines write to a network mount, so nothing
here depends on them. The clock of the machine that holds the files may be wrong: its times are
only ever compared with each other, and quiet is measured on this machine's steady clock.

A look at 100,000 resting files costs little, because a folder is listed only where something
may have happened in it, and a resting file is not asked for its size. The argument that this
misses nothing is in `_Folder.may_have_changed`. A resting file that is rewritten in place, or
deleted and made anew under its old name, is found by the full pass that is made now and then.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FolderWatch", "QuietFile", "is_temporary"]

_SETTLED_S = 10.0
"""For so long after a change everything about it is looked at again. More than the coarsest
time stamp of a file system (2 s on FAT) is needed; the rest is for writers that pause."""

_PAUSES = 5.0  # times what a look took
_RETRY_S = 5.0  # between two tries to list a folder that refuses

_TEMPORARY_ENDS = ("~", ".part", ".partial", ".filepart", ".crdownload", ".tmp", ".temp", ".swp")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuietFile:
    """A file that nobody is writing to, as it was when it was last looked at."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def version(self) -> str:
        """What differs once the file is rewritten."""
        return f"{self.size}:{self.mtime_ns}"


def is_temporary(name: str) -> bool:
    """Tell names that programs give to files they have not finished, and hidden ones."""
    return name.startswith((".", "~")) or name.lower().endswith(_TEMPORARY_ENDS)


@dataclass(slots=True)
class _File:
    inode: int
    size: int = -1
    mtime_ns: int = -1
    same_since: float = 0.0
    done: bool = False


@dataclass(slots=True)
class _Folder:
    """What is known of one folder; `open` names the files to look at each time."""

    mtime_ns: int = -1
    same_since: float = 0.0
    listed_at: float = float("-inf")
    retry_at: float = float("-inf")
    files: dict[str, _File] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    folders: dict[str, _Folder] = field(default_factory=dict)

    def may_have_changed(self, mtime_ns: int, now: float) -> bool:
        """Tell whether the folder must be listed.

        A folder's time changes with every name that comes, goes or is replaced, but two changes
        in one tick of its file system, with a listing between them, leave the same time. So an
        unchanged time is trusted only where the last listing came `_SETTLED_S` or more, by the
        steady clock here, after that time was first seen. The change that set it is older than
        the sight of it; a name that came after that listing is then younger than that change
        by more than a tick, and has changed the time.
        """
        if mtime_ns != self.mtime_ns:
            self.mtime_ns = mtime_ns
            self.same_since = now
            return True
        return self.listed_at - self.same_since < _SETTLED_S


class FolderWatch:
    """Looks at a folder and everything below it.

    Symbolic links to files are followed, links to folders are not. Temporary names
    (`is_temporary`) are left alone until they are renamed. What cannot be read is told to the
    log once, and tried again.

    Parameters
    ----------
    folder
        Need not exist yet, and may go and come back, as mounts do.
    quiet_s
        A file is taken when its size and time have stayed the same for so long. More than the
        pauses of whoever writes without a temporary name.
    poll_s
        The shortest time between two looks. A look that takes long is followed by a pause five
        times as long, so that neither this machine nor a slow disk does little else.
    full_pass_s
        Every so often each file is looked at, however long it has rested.
    suffixes
        Ends of the names wanted, in any case, such as ``.fits``; ``None`` for all.
    clock
        Steady seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quiet_s: float = 0.5,
        poll_s: float = 0.1,
        full_pass_s: float = 30.0,
        suffixes: Iterable[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder.absolute()
        self._quiet_s = quiet_s
        self._poll_s = poll_s
        self._full_pass_s = full_pass_s
        self._suffixes = None if suffixes is None else tuple(end.lower() for end in suffixes)
        self._clock = clock
        self._tree = _Folder()
        self._full_at = float("-inf")
        self._next_at = float("-inf")
        self._unfinished = 0
        self._told: set[str] = set()
        self._offered: dict[Path, _File] = {}

    @property
    def pause_s(self) -> float:
        """Seconds until the next look is due; 0 where it is."""
        return max(self._next_at - self._clock(), 0.0)

    @property
    def is_waiting(self) -> bool:
        """Whether the last look saw files that are not done: not quiet yet, or told of."""
        return self._unfinished > 0

    def scan(self) -> list[QuietFile]:
        """Return the quiet files that are not done, oldest first.

        A file is returned by each scan until it is `done`, and again once it has changed.
        """
        now = self._clock()
        full = now - self._full_at >= self._full_pass_s
        if full:
            self._full_at = now
        self._offered = {}
        self._unfinished = 0
        quiet: list[QuietFile] = []
        unseen = [(str(self.folder), self._tree)]
        while unseen:
            path, folder = unseen.pop()
            self._look_at_folder(path, folder, now, full=full)
            quiet += self._look_at_files(path, folder, now)
            unseen += [(f"{path}/{name}", below) for name, below in folder.folders.items()]
        self._next_at = now + max(self._poll_s, _PAUSES * (self._clock() - now))
        return sorted(quiet, key=lambda each: (each.mtime_ns, each.path))

    def done(self, files: Iterable[QuietFile]) -> None:
        """Note that files have been taken care of as they were; they are not returned again."""
        for each in files:
            known = self._offered.pop(each.path, None)
            if known is not None and (known.size, known.mtime_ns) == (each.size, each.mtime_ns):
                known.done = True
                self._unfinished -= 1

    def batches(self, stop: threading.Event) -> Iterator[list[QuietFile]]:
        """Yield quiet files as they come until `stop` is set.

        A batch is `done` when the next is asked for.
        """
        while not stop.wait(self.pause_s):
            files = self.scan()
            if files:
                yield files
                self.done(files)

    def _look_at_folder(self, path: str, folder: _Folder, now: float, *, full: bool) -> None:
        """List a folder if it may have changed."""
        if now < folder.retry_at:
            return
        try:
            # Before the listing: what comes while it runs has a later time than this.
            changed = folder.may_have_changed(os.stat(path).st_mtime_ns, now)  # noqa: PTH116, Path costs more than the call
            if changed or full:
                self._list(path, folder, full=full)
                folder.listed_at = now
        except FileNotFoundError:
            # Its parent's listing will say the same. A mount may come back with the same files
            # in it, so what is known of them stays.
            if folder is self._tree:
                self._tell(path, "the watched folder is not there")
            folder.mtime_ns = -1
        except OSError as error:
            self._tell(path, f"cannot be read: {error.strerror}")
            folder.retry_at = now + _RETRY_S
            folder.mtime_ns = -1
        else:
            self._told.discard(path)

    def _list(self, path: str, folder: _Folder, *, full: bool) -> None:
        """Note the names in a folder; new and replaced ones are open, on a full pass all."""
        files: dict[str, _File] = {}
        folders: dict[str, _Folder] = {}
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                known = folder.files.get(name)
                if entry.is_dir(follow_symlinks=False):
                    if not name.startswith("."):
                        folders[name] = folder.folders.get(name) or _Folder()
                elif known is not None and entry.inode() == known.inode:
                    files[name] = known
                elif self._is_wanted(name):
                    known = known or _File(entry.inode())
                    known.inode = entry.inode()
                    files[name] = known
                    folder.open.add(name)
        folder.files, folder.folders = files, folders
        if full:
            folder.open = set(files)

    def _is_wanted(self, name: str) -> bool:
        return not is_temporary(name) and (
            self._suffixes is None or name.lower().endswith(self._suffixes)
        )

    def _look_at_files(self, path: str, folder: _Folder, now: float) -> Iterator[QuietFile]:
        """Yield the open files of a folder that are quiet; close those that rest for long."""
        for name in list(folder.open):
            full_name = f"{path}/{name}"
            known = folder.files.get(name)
            try:
                facts = os.stat(full_name) if known is not None else None  # noqa: PTH116, as above
            except FileNotFoundError:
                facts = None  # gone, or a link that leads nowhere
            except OSError as error:
                self._tell(full_name, f"cannot be read: {error.strerror}")
                continue
            if known is None or facts is None:
                folder.open.discard(name)
                folder.files.pop(name, None)
                continue
            self._told.discard(full_name)
            if (facts.st_size, facts.st_mtime_ns) != (known.size, known.mtime_ns):
                known.size, known.mtime_ns = facts.st_size, facts.st_mtime_ns
                known.same_since, known.done = now, not stat.S_ISREG(facts.st_mode)
            rested = now - known.same_since
            self._unfinished += not known.done
            if known.done and rested >= _SETTLED_S:
                folder.open.discard(name)
            elif not known.done and rested >= self._quiet_s:
                quiet = QuietFile(Path(full_name), known.size, known.mtime_ns)
                self._offered[quiet.path] = known
                yield quiet

    def _tell(self, path: str, what: str) -> None:
        """Write a line to the log, once for each path until it is well again."""
        if path not in self._told:
            self._told.add(path)
            _log.warning("%s: %s", ascii(path)[1:-1], what)
