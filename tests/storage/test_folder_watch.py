from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.storage.folder_watch import FolderWatch, QuietFile, is_temporary

_QUIET = 0.5


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Watched:
    """A watch on a folder, with a clock that stands still."""

    folder: Path
    clock: Clock
    watch: FolderWatch

    def after(self, seconds: float) -> list[str]:
        """Names below the folder of what is quiet after a while, and note it as done."""
        self.clock.now += seconds
        found = self.watch.scan()
        self.watch.done(found)
        return [str(each.path.relative_to(self.folder)) for each in found]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    clock = Clock()
    return Watched(tmp_path, clock, FolderWatch(tmp_path, quiet_s=_QUIET, clock=clock))


def test_a_file_is_taken_once_it_is_quiet(watched: Watched) -> None:
    path = watched.folder / "a" / "b" / "c" / "light.fits"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"some")
    assert watched.after(0) == []
    assert watched.after(0.49) == []
    with path.open("ab") as stream:
        stream.write(b"more")
    assert watched.after(0.02) == []
    assert watched.after(0.49) == []
    assert watched.after(0.01) == ["a/b/c/light.fits"]
    assert watched.after(60) == []


def test_what_it_tells_of_a_file(watched: Watched) -> None:
    path = watched.folder / "light.fits"
    path.write_bytes(b"12345")
    os.utime(path, ns=(7, 7))  # the clock of another machine
    watched.watch.scan()
    watched.clock.now += 1
    assert watched.watch.scan() == [QuietFile(path, 5, 7)]
    assert QuietFile(path, 5, 7).version == "5:7"


def test_a_file_comes_again_until_it_is_done_and_when_it_changes(watched: Watched) -> None:
    path = watched.folder / "light.fits"
    path.write_bytes(b"1")
    watched.watch.scan()
    watched.clock.now += 1
    first = watched.watch.scan()
    assert watched.watch.scan() == first
    path.write_bytes(b"22")
    watched.watch.done(first)  # it has changed since: only the next look can tell
    assert watched.after(1) == []
    assert watched.after(1) == ["light.fits"]
    assert watched.after(1) == []


def test_files_of_the_future_and_the_far_past_are_treated_alike(watched: Watched) -> None:
    for name, seconds in {"future": 4e9, "past": 0.0}.items():
        path = watched.folder / name
        path.touch()
        os.utime(path, (seconds, seconds))
    assert watched.after(0) == []
    assert sorted(watched.after(_QUIET)) == ["future", "past"]


@pytest.mark.parametrize(
    "name", [".hidden", "light.fits.part", "light.FITS.TMP", "light.fits~", "~$light.fits"]
)
def test_temporary_names_are_left_alone_until_renamed(watched: Watched, name: str) -> None:
    assert is_temporary(name)
    path = watched.folder / name
    path.write_bytes(b"x")
    watched.after(0)
    assert watched.after(1) == []
    path.rename(watched.folder / "light.fits")
    watched.after(0)
    assert watched.after(1) == ["light.fits"]


def test_hidden_folders_are_left_alone(watched: Watched) -> None:
    (watched.folder / ".stfolder").mkdir()
    (watched.folder / ".stfolder" / "light.fits").touch()
    watched.after(0)
    assert watched.after(1) == []


def test_only_the_suffixes_wanted(tmp_path: Path) -> None:
    clock = Clock()
    watched = Watched(tmp_path, clock, FolderWatch(tmp_path, suffixes=[".fits"], clock=clock))
    for name in ("a.fits", "b.FITS", "c.txt", "fits"):
        (tmp_path / name).touch()
    watched.after(0)
    assert sorted(watched.after(1)) == ["a.fits", "b.FITS"]


def test_a_file_replaced_long_after_is_seen_at_the_next_look(watched: Watched) -> None:
    path = watched.folder / "light.fits"
    path.write_bytes(b"old")
    watched.after(0)
    assert watched.after(1) == ["light.fits"]
    watched.after(15)
    watched.after(0.1)  # at rest, and before the next full pass
    (watched.folder / "light.part").write_bytes(b"new!")
    (watched.folder / "light.part").rename(path)
    watched.after(0.1)
    assert watched.after(_QUIET) == ["light.fits"]


def test_a_file_rewritten_in_place_is_found_by_the_full_pass(watched: Watched) -> None:
    path = watched.folder / "light.fits"
    path.write_bytes(b"old")
    watched.after(0)
    watched.after(1)
    watched.after(15)
    path.write_bytes(b"new!")
    watched.after(30)
    assert watched.after(_QUIET) == ["light.fits"]


def test_files_and_folders_that_go_away(watched: Watched) -> None:
    folder = watched.folder / "night"
    folder.mkdir()
    (folder / "a").touch()
    (watched.folder / "b").touch()
    watched.after(0)
    shutil.rmtree(folder)
    assert watched.after(1) == ["b"]
    folder.write_text("a file where a folder was")
    watched.after(1)
    assert watched.after(1) == ["night"]
    folder.unlink()
    folder.mkdir()
    (folder / "a").touch()
    watched.after(1)
    assert watched.after(1) == ["night/a"]


def test_the_folder_itself_may_come_late_and_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "mount"
    clock = Clock()
    watched = Watched(root, clock, FolderWatch(root, clock=clock))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert watched.after(1) == []
    assert caplog.messages == [f"{root}: the watched folder is not there"]
    root.mkdir()
    (root / "a").touch()
    watched.after(1)
    assert watched.after(1) == ["a"]
    root.rename(tmp_path / "away")
    assert watched.after(20) == []
    (tmp_path / "away").rename(root)
    assert watched.after(1) == []
    (root / "b").touch()
    watched.after(1)
    assert watched.after(1) == ["b"]


def test_what_may_not_be_read_is_told_once_and_found_later(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (watched.folder / "closed").mkdir()
    (watched.folder / "closed" / "a").touch()
    (watched.folder / "b").touch()
    tries = _refuse(monkeypatch, watched.folder / "closed")
    with caplog.at_level(logging.WARNING):
        watched.after(0)
        assert watched.after(1) == ["b"]
        for _ in range(40):
            watched.after(0.25)
    assert caplog.messages == [f"{watched.folder}/closed: cannot be read: Permission denied"]
    assert len(tries) <= 4  # in 11 s of looking four times a second
    monkeypatch.undo()
    watched.after(6)
    assert watched.after(1) == ["closed/a"]


def _refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Tests may run as root, whom the modes of files do not stop."""
    tries: list[str] = []
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path == str(folder):
            tries.append(path)
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return tries


def test_odd_things_in_a_folder(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(watched.folder / "pipe")
    (watched.folder / "dangling").symlink_to("nowhere")
    (watched.folder / "loop").symlink_to(watched.folder)
    (watched.folder / "real").touch()
    (watched.folder / "link").symlink_to("real")
    (watched.folder / "tab\tnew\nline é").touch()
    latin = os.fsdecode(b"latin-\xe9")
    (watched.folder / latin).touch()
    with caplog.at_level(logging.WARNING):
        watched.after(0)
        assert sorted(watched.after(1)) == sorted(["link", "real", "tab\tnew\nline é", latin])
        watched.after(60)
    assert caplog.messages == []


def test_batches_come_until_told_to_stop(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, quiet_s=0.02, poll_s=0.01)
    stop = threading.Event()
    (tmp_path / "0").touch()
    seen: list[str] = []
    for batch in watch.batches(stop):
        seen += [each.path.name for each in batch]
        if len(seen) == 3:
            stop.set()
        else:
            (tmp_path / str(len(seen))).touch()
    assert seen == ["0", "1", "2"]


def test_a_look_that_takes_long_is_followed_by_a_longer_pause(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched.watch.pause_s == 0
    watched.watch.scan()
    assert watched.watch.pause_s == pytest.approx(0.1)
    watched.clock.now += 0.1
    assert watched.watch.pause_s == pytest.approx(0, abs=1e-9)
    stat = os.stat

    def slowly(path: str) -> os.stat_result:
        watched.clock.now += 2
        return stat(path)

    monkeypatch.setattr(os, "stat", slowly)
    watched.watch.scan()
    assert watched.watch.pause_s == pytest.approx(8)  # ten after the beginning


def test_a_folder_at_rest_is_not_listed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (watched.folder / f"{number}").mkdir()
        (watched.folder / f"{number}" / "light.fits").touch()
    for _ in range(4):
        watched.after(5)
    listed = _refuse(monkeypatch, watched.folder / "7")
    stats: list[object] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path: stats.append(path) or stat(path))
    watched.after(0.25)
    assert listed == []
    assert len(stats) == 21  # the folders; none of the files


# What follows proves that nothing is missed, whatever happens in whatever order between any two
# looks, on a file system whose times have any granularity and whose clock is wrong.


@dataclass
class Disk:
    """A folder whose time stamps come from the clock of another machine, rounded down."""

    root: Path
    clock: Clock
    tick: float
    skew: float
    made: int = 0
    folders: list[Path] = field(default_factory=list)
    held: list[BinaryIO] = field(default_factory=list)

    def close(self) -> None:
        for stream in self.held:
            stream.close()

    def __post_init__(self) -> None:
        self.folders.append(self.root)
        self._stamp(self.root)

    def _stamp(self, *paths: Path) -> None:
        ticks = (self.clock.now + self.skew) // self.tick
        for path in paths:
            os.utime(path, ns=(0, int(ticks * self.tick * 1e9)))

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*.fits") if path.is_file())

    def create(self, pick: int) -> None:
        folder = self.folders[pick % len(self.folders)]
        self.made += 1
        path = folder / f"{self.made}.fits"
        path.write_bytes(bytes(self.made))
        self._stamp(path, folder)

    def make_folder(self, pick: int) -> None:
        parent = self.folders[pick % len(self.folders)]
        self.made += 1
        folder = parent / f"folder{self.made}"
        folder.mkdir()
        self.folders.append(folder)
        self._stamp(folder, parent)

    def _some_file(self, pick: int) -> Path | None:
        files = self.files()
        return files[pick % len(files)] if files else None

    def replace(self, pick: int) -> None:
        path = self._some_file(pick)
        if path is not None:
            self.made += 1
            part = path.with_suffix(".part")
            part.write_bytes(bytes(self.made))
            self._stamp(part)
            # Held, so that the next file cannot get the number of this one: that would look as
            # if nothing had happened, which is `recreate`.
            self.held.append(path.open("rb"))
            part.replace(path)
            self._stamp(path.parent)

    def rename(self, pick: int) -> None:
        path = self._some_file(pick)
        if path is not None:
            self.made += 1
            path.rename(path.with_name(f"{self.made}.fits"))
            self._stamp(path.parent)

    def delete(self, pick: int) -> None:
        path = self._some_file(pick)
        if path is not None:
            path.unlink()
            self._stamp(path.parent)

    def rewrite(self, pick: int) -> None:
        """In place: the folder knows nothing of it."""
        path = self._some_file(pick)
        if path is not None:
            self.made += 1
            path.write_bytes(bytes(self.made))
            self._stamp(path)

    def recreate(self, pick: int) -> None:
        path = self._some_file(pick)
        if path is not None:
            self.made += 1
            path.unlink()
            path.write_bytes(bytes(self.made))
            self._stamp(path, path.parent)


_SEEN_BY_THE_FOLDER: list[Callable[[Disk, int], None]] = [
    Disk.create,
    Disk.create,
    Disk.make_folder,
    Disk.replace,
    Disk.rename,
    Disk.delete,
]
_waits = st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0, 12.0])


def _happenings(
    actions: list[Callable[[Disk, int], None]],
) -> st.SearchStrategy[list[tuple[Callable[[Disk, int], None], int, float, bool]]]:
    one = st.tuples(st.sampled_from(actions), st.integers(0, 50), _waits, st.booleans())
    return st.lists(one, max_size=25)


def _run(
    happenings: list[tuple[Callable[[Disk, int], None], int, float, bool]],
    *,
    tick: float,
    skew: float,
    full_pass_s: float,
    last_wait: float,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        disk = Disk(Path(folder), clock, tick, skew)
        watch = FolderWatch(disk.root, quiet_s=_QUIET, full_pass_s=full_pass_s, clock=clock)
        seen: dict[Path, str] = {}

        def look() -> None:
            quiet = watch.scan()
            watch.done(quiet)
            seen.update({each.path: each.version for each in quiet})

        look()
        for action, pick, wait, looks in happenings:
            action(disk, pick)
            if looks:
                look()
            clock.now += wait
            if looks:
                look()
        for wait in (last_wait, _QUIET, _QUIET):
            clock.now += wait
            look()
        there = {path: path.stat() for path in disk.files()}
        expected = {path: f"{each.st_size}:{each.st_mtime_ns}" for path, each in there.items()}
        disk.close()
        assert {path: seen.get(path) for path in there} == expected
        assert watch.scan() == []


_RELAXED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@_RELAXED
@given(
    _happenings(_SEEN_BY_THE_FOLDER),
    st.sampled_from([1e-3, 1.0, 2.0]),
    st.sampled_from([0.0, 1e6, 0.7]),
)
def test_nothing_new_is_missed_even_without_full_passes(
    happenings: list[tuple[Callable[[Disk, int], None], int, float, bool]],
    tick: float,
    skew: float,
) -> None:
    _run(happenings, tick=tick, skew=skew, full_pass_s=1e9, last_wait=0.0)


@_RELAXED
@given(
    _happenings([*_SEEN_BY_THE_FOLDER, Disk.rewrite, Disk.recreate]),
    st.sampled_from([1e-3, 1.0, 2.0]),
    st.sampled_from([0.0, 1e6, 0.7]),
)
def test_nothing_at_all_is_missed_for_longer_than_a_full_pass(
    happenings: list[tuple[Callable[[Disk, int], None], int, float, bool]],
    tick: float,
    skew: float,
) -> None:
    _run(happenings, tick=tick, skew=skew, full_pass_s=20.0, last_wait=20.0)
