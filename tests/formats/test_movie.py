from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from firstlight.errors import InvalidInput, MissingDependency
from firstlight.formats.movie import BadMovie, encode_movie, find_ffmpeg
from firstlight.formats.preview import encode_levels

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 30), (30, 220, 220)]


@pytest.fixture(scope="module", autouse=True)
def ffmpeg():
    try:
        return find_ffmpeg()
    except MissingDependency as fault:
        pytest.skip(str(fault))


def _jpeg(colour, shape=(48, 64)):
    levels = np.zeros((*shape, 3), np.uint8)
    levels[:] = colour
    return encode_levels(levels, file_format="jpeg", quality=95)


def _decoded(movie, tmp_path, width, height):
    path = tmp_path / "movie.mp4"
    path.write_bytes(movie)
    command = [find_ffmpeg(), "-loglevel", "error", "-i", path, "-f", "rawvideo"]
    done = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True, timeout=60
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_every_frame_comes_back_in_its_order(tmp_path):
    frames = _decoded(encode_movie(map(_jpeg, COLOURS)), tmp_path, 64, 48)
    assert len(frames) == len(COLOURS)
    means = frames.mean(axis=(1, 2))
    np.testing.assert_allclose(means, COLOURS, atol=12)


def test_equal_frames_make_equal_files():
    pictures = [_jpeg(colour) for colour in COLOURS]
    assert encode_movie(pictures) == encode_movie(iter(pictures))


def test_odd_sides_lose_a_row_and_other_sizes_are_fitted(tmp_path):
    pictures = [_jpeg(COLOURS[0], (45, 65)), _jpeg(COLOURS[1], (90, 65))]
    frames = _decoded(encode_movie(pictures), tmp_path, 64, 44)
    assert len(frames) == 2
    np.testing.assert_allclose(frames[1][20, 32], COLOURS[1], atol=12)
    np.testing.assert_allclose(frames[1][20, 2], 0, atol=20)


def test_large_frames_are_shrunk(tmp_path):
    movie = encode_movie([_jpeg(COLOURS[0], (300, 400))] * 2, largest_side=100)
    assert _decoded(movie, tmp_path, 100, 74).shape[0] == 2


def test_arrays_are_frames_with_their_top_row_first(tmp_path):
    levels = np.zeros((32, 32), np.uint8)
    levels[:16] = 200
    frames = _decoded(encode_movie([levels]), tmp_path, 32, 32)
    assert frames[0, :14].mean() > 180
    assert frames[0, 18:].mean() < 20


def test_browsers_can_play_it_while_it_loads(tmp_path):
    movie = encode_movie(map(_jpeg, COLOURS))
    assert movie.index(b"moov") < movie.index(b"mdat")
    assert b"avc1" in movie
    path = tmp_path / "movie.mp4"
    path.write_bytes(movie)
    said = subprocess.run(
        [find_ffmpeg(), "-i", path], capture_output=True, check=False, timeout=60, text=True
    ).stderr
    assert "h264" in said
    assert "yuv420p" in said
    assert "10 fps" in said


def test_nothing_is_no_movie():
    with pytest.raises(BadMovie, match="no picture"):
        encode_movie([])


def test_a_frame_that_is_no_picture_is_named():
    with pytest.raises(BadMovie, match="picture 2"):
        encode_movie([_jpeg(COLOURS[0]), b"this is no picture"])


def test_what_ffmpeg_says_is_passed_on(monkeypatch, tmp_path):
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(fake))
    with pytest.raises(BadMovie, match="Unknown encoder"):
        encode_movie([_jpeg(COLOURS[0], (480, 640))] * 3)


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"fps": 1000}, {"largest_side": 1}])
def test_wrong_wishes(wrong):
    with pytest.raises(InvalidInput):
        encode_movie([_jpeg(COLOURS[0])], **wrong)


def test_no_ffmpeg_at_all(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependency, match=r"firstlight\[movie\]"):
        encode_movie([_jpeg(COLOURS[0])])
