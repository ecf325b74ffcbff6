"""Posteriors of ArviZ are read from their netCDF; nothing in such a file leads out of it."""

import io
import os

import h5py
import numpy as np
import pytest

from firstlight.errors import FirstlightError
from firstlight.formats.inference_data import read_posterior
from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

LIMITS = {"most_bytes": 10_000_000, "most_numbers": 1_000_000}


def posterior(change=None, *, chains=2, draws=50):
    """A file as ArviZ writes it, as far as we look at it, with something changed."""
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        group = file.create_group("posterior")
        for name, size in (("chain", chains), ("draw", draws)):
            group[name] = np.arange(size)
            group[name].make_scale(name)
        group["mu"] = np.arange(float(chains * draws)).reshape(chains, draws)
        if change is not None:
            change(file, group)
    return written.getvalue()


@pytest.mark.slow  # to import ArviZ takes longer than all else here
@pytest.mark.filterwarnings("ignore:.*ArviZ is undergoing a major refactor:FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:xarray")
def test_a_file_of_arviz(tmp_path):
    arviz = pytest.importorskip("arviz")
    rng = np.random.default_rng(3)
    mu, theta = rng.normal(size=(4, 100)), rng.normal(size=(4, 100, 3))
    written = arviz.from_dict(
        posterior={"mu": mu, "theta": theta}, sample_stats={"lp": mu}, prior={"mu": mu}
    )
    path = tmp_path / "it.nc"
    written.to_netcdf(str(path))
    found = read_posterior(path.read_bytes(), **LIMITS)
    assert set(found.columns) == {"mu", "theta[0]", "theta[1]", "theta[2]"}
    assert found.sent == 400
    assert np.array_equal(found.columns["mu"], mu.ravel())
    assert np.array_equal(found.columns["theta[2]"], theta[:, :, 2].ravel())


def test_many_samples_are_thinned_evenly():
    found = read_posterior(posterior(draws=5000), most_bytes=10_000_000, most_numbers=1000)
    assert (found.sent, len(found.columns["mu"])) == (10_000, 1000)
    assert found.columns["mu"][-1] == 9999
    assert np.diff(found.columns["mu"]).max() < 12


def test_what_is_not_a_number_for_each_draw_is_left_out():
    def change(file, group):
        group["name"] = ["a", "b"]
        group["fixed"] = np.arange(7.0)
        group["wide"] = np.zeros((2, 50, 500))
        group.create_group("inner")

    found = read_posterior(posterior(change), **LIMITS)
    assert set(found.columns) == {"mu"}
    assert len(found.notes) == 2


def external_link(group, other):
    group["secret"] = h5py.ExternalLink(other, "/x")


def soft_link(group, other):
    group["secret"] = h5py.SoftLink("/posterior/mu")


def linked_group(group, other):
    file = group.file
    del file["posterior"]
    file["posterior"] = h5py.ExternalLink(other, "/posterior")


def external_data(group, other):
    group.create_dataset("x", (2, 50), "f8", external=[(other, 0, 800)])


def virtual_data(group, other):
    layout = h5py.VirtualLayout((2, 50), "f8")
    layout[:] = h5py.VirtualSource(other, "x", (2, 50))
    group.create_virtual_dataset("x", layout)


def virtual_data_of_any_length(group, other):
    layout = h5py.VirtualLayout((2, 50), "f8", maxshape=(2, None))
    source = h5py.VirtualSource(other, "x", (2, 50), maxshape=(2, None))
    layout[:, : h5py.h5s.UNLIMITED] = source[:, : h5py.h5s.UNLIMITED]
    group.create_virtual_dataset("x", layout)


def link_beside_the_posterior(group, other):
    group.file.create_group("prior")["secret"] = h5py.ExternalLink(other, "/x")


@pytest.fixture
def other_file(tmp_path):
    """A real file that can be told to have been read, by the time at which it was."""
    path = tmp_path / "other.h5"
    path.write_bytes(posterior(lambda file, group: file.create_dataset("x", (2, 50), "f8")))

    def was_read():
        return path.stat().st_atime > 1000

    os.utime(path, (0, 0))
    with h5py.File(path) as file:
        file["x"][()]
    if not was_read():
        pytest.skip("this file system does not tell when a file was read")
    os.utime(path, (0, 0))
    return path, was_read


@pytest.mark.parametrize(
    "change",
    [
        external_link,
        soft_link,
        linked_group,
        link_beside_the_posterior,
        external_data,
        virtual_data,
        virtual_data_of_any_length,
    ],
)
def test_other_files_are_never_opened(change, other_file):
    path, was_read = other_file
    data = posterior(lambda file, group: change(group, str(path)))
    os.utime(path, (0, 0))
    with pytest.raises(ResultRefused) as told:
        read_posterior(data, **LIMITS)
    assert told.value.code == "analysis.result_refused"
    assert not was_read()


def huge_claim(file, group):
    group.create_dataset("x", (2, 10**12), "f8", chunks=(1, 1000))


def huge_chunk(file, group):
    group.create_dataset("x", (2, 50), "f8", chunks=(2, 50), maxshape=(None, None))
    group.create_dataset("y", (2, 50), "f8", chunks=(1000, 100_000), maxshape=(None, None))


def huge_packed(file, group):
    group.create_dataset("x", data=np.zeros((2, 2_000_000)), compression="gzip")


@pytest.mark.parametrize("change", [huge_claim, huge_chunk, huge_packed])
def test_sizes_are_looked_at_before_anything_is_read(change):
    data = posterior(change)
    assert len(data) < 200_000
    with pytest.raises(ResultTooLarge):
        read_posterior(data, **LIMITS)


def other_filter(file, group):
    group.create_dataset("x", data=np.zeros((2, 50)), compression="lzf")


def no_posterior(file, group):
    del file["posterior"]


def a_number(file, group):
    del file["posterior"]
    file["posterior"] = 1.0


def no_draws(file, group):
    del group["draw"]


def no_parameters(file, group):
    del group["mu"]


@pytest.mark.parametrize("change", [other_filter, no_posterior, a_number, no_draws, no_parameters])
def test_what_is_missing_is_told(change):
    with pytest.raises(ResultMalformed) as told:
        read_posterior(posterior(change), **LIMITS)
    assert told.value.field.startswith("analysis.inference_data")


@pytest.mark.parametrize("data", [b"", b"CDF\x01" + b"\x00" * 100, b"\x89HDF\r\n\x1a\n", b"PK\x03"])
def test_other_files_are_malformed(data):
    with pytest.raises(ResultMalformed):
        read_posterior(data, **LIMITS)


def test_references_and_ragged_arrays_are_left_out():
    def change(file, group):
        group.create_dataset("ref", (2, 50), h5py.ref_dtype)
        group.create_dataset("ragged", (2, 50), h5py.vlen_dtype(np.float64))
        group.create_dataset("table", (2, 50), [("a", "f8")])

    found = read_posterior(posterior(change), **LIMITS)
    assert set(found.columns) == {"mu"}
    assert len(found.notes) == 3


def test_damaged_files_are_read_or_refused():
    data = posterior()
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(8, len(data), 5):
            damaged[place] = rng.integers(256)
        try:
            read_posterior(bytes(damaged), **LIMITS)
        except FirstlightError as fault:
            assert fault.code.startswith("analysis.result_")  # noqa: PT017, a value is right too
