import multiprocessing

import numpy as np
import pytest

from firstlight.catalogs.quad_index import is_built, quad_index, quad_index_folder


class FewStars:
    """A catalogue small enough to index in a moment."""

    def __init__(self, release="few-1"):
        self.release = release

    def everything(self):
        rng = np.random.default_rng(1)
        dec = np.degrees(np.arcsin(rng.random(5000) * 2 - 1))
        return rng.random(5000) * 360, dec, rng.random(5000) * 5


class Untouchable(FewStars):
    def everything(self):
        raise AssertionError("built again")


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_built_once_then_mapped(tmp_path):
    assert not is_built(FewStars(), tmp_path)
    done = []
    first = quad_index(FewStars(), cache=tmp_path, progress=done.append)
    assert done[-1] == 1.0
    assert done == sorted(done)
    assert is_built(FewStars(), tmp_path)
    again = quad_index(Untouchable(), cache=tmp_path)
    assert same(first, again)
    assert not again.codes.flags.writeable
    assert type(again.codes) is np.ndarray
    assert [p.name for p in tmp_path.iterdir()] == [quad_index_folder(FewStars(), tmp_path).name]


def test_another_release_has_another_index(tmp_path):
    quad_index(FewStars(), cache=tmp_path)
    assert not is_built(FewStars("few-2"), tmp_path)


@pytest.mark.parametrize("damage", ["cut", "no note", "garbled note", "missing"])
def test_a_damaged_index_is_replaced(tmp_path, damage):
    good = quad_index(FewStars(), cache=tmp_path)
    good = [array.copy() for array in good]
    folder = quad_index_folder(FewStars(), tmp_path)
    if damage == "cut":
        codes = folder / "codes.npy"
        codes.write_bytes(codes.read_bytes()[:-100])
    elif damage == "no note":
        (folder / "index.json").unlink()
    elif damage == "garbled note":
        (folder / "index.json").write_text("{")
    else:
        (folder / "members.npy").unlink()
    assert not is_built(FewStars(), tmp_path)
    assert same(good, quad_index(FewStars(), cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(AssertionError):
        quad_index(Untouchable(), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def build_after(gate, folder, answers):
    gate.wait()
    answers.put(len(quad_index(FewStars(), cache=folder).codes))


def test_two_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Event(), context.Queue()
    workers = [
        context.Process(target=build_after, args=(gate, tmp_path, answers)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    gate.set()
    counts = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert counts[0] == counts[1] == len(quad_index(Untouchable(), cache=tmp_path).codes)
    assert len(list(tmp_path.iterdir())) == 1
