"""Templates: the bundled family, and finding others without a network."""

from __future__ import annotations

import gc
import urllib.request

import numpy as np
import pytest
import sncosmo

from firstlight.analysis_kit import AnalysisFailed
from firstlight.analysis_kit.supernova_sources import BUNDLED, bundled_source, width_of
from firstlight.analysis_kit.supernova_templates import (
    FOLDER_VARIABLE,
    candidates,
    find_template,
    only_local_files,
)


@pytest.fixture(autouse=True)
def _nothing_on_this_machine(tmp_path, monkeypatch):
    (tmp_path / "sncosmo").mkdir()
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path / "sncosmo"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked for {args}")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def _forget(monkeypatch):
    """What sncosmo loads within the test is not kept for the next."""
    monkeypatch.setattr(sncosmo.models._SOURCES, "_instances", {})


@pytest.mark.parametrize("name", BUNDLED)
def test_each_is_brightest_in_b_at_phase_zero_and_as_bright_as_x0_says(name):
    source = bundled_source(name)
    assert source.peakmag("bessellb", "ab") == pytest.approx(10.635, abs=0.001)
    assert abs(source.peakphase("bessellb")) < 2.0


@pytest.mark.parametrize("name", BUNDLED)
def test_before_it_begins_there_is_no_light_and_nowhere_is_it_negative(name):
    source = bundled_source(name)
    phase = np.linspace(source.minphase() - 50.0, source.maxphase(), 300)
    wave = np.linspace(source.minwave(), source.maxwave(), 200)
    flux = source.flux(phase, wave)
    assert np.all(flux[phase < source.minphase()] == 0.0)
    assert flux.min() >= 0.0
    assert np.all(flux[phase > source.minphase() + 3.0].max(axis=1) > 0.0)


def _magnitudes(name: str, band: str, *phases: float) -> np.ndarray:
    return np.asarray(bundled_source(name).bandmag(band, "ab", np.array(phases)))


def test_type_ia_fades_as_phillips_found_and_has_a_second_maximum_in_i():
    early, late = _magnitudes("fl-sn1a", "bessellb", 0.0, 15.0)
    assert late - early == pytest.approx(1.1, abs=0.1)
    dip, bump = _magnitudes("fl-sn1a", "besselli", 15.0, 23.0)
    assert bump < dip


def test_type_iip_has_a_plateau_and_then_falls():
    first, last, after = _magnitudes("fl-sn2p", "bessellv", 15.0, 75.0, 120.0)
    assert last - first < 0.4
    assert after - last > 1.5
    blue = _magnitudes("fl-sn2p", "bessellb", 0.0, 60.0)
    visual = _magnitudes("fl-sn2p", "bessellv", 0.0, 60.0)
    assert (blue - visual)[1] - (blue - visual)[0] > 1.0, "it reddens as it cools"


def test_x1_widens_and_c_reddens():
    source = bundled_source("fl-sn1a").__copy__()
    normal = source.bandmag("bessellb", "ab", 10.0)
    source.set(x1=2.0)
    widened = source.bandmag("bessellb", "ab", 10.0 * width_of(2.0) / width_of(0.0))
    assert widened == pytest.approx(normal, abs=1e-6)
    colour = source.bandmag("bessellb", "ab", 0.0) - source.bandmag("bessellv", "ab", 0.0)
    source.set(c=0.3)
    redder = source.bandmag("bessellb", "ab", 0.0) - source.bandmag("bessellv", "ab", 0.0)
    assert redder - colour == pytest.approx(0.3, abs=0.02)


def test_width_rises_all_over_its_range():
    assert np.all(np.diff([width_of(x1) for x1 in np.linspace(-4.0, 4.0, 81)]) > 0.0)


@pytest.mark.parametrize(
    ("asked", "stand_in"),
    [
        ("nugent-sn2p", "fl-sn2p"),
        ("nugent-sn1a", "fl-sn1a"),
        ("nugent-sn2n", "fl-sn2n"),
        ("nugent-sn2l", "fl-sn2l"),
        ("nugent-sn1bc", "fl-sn1bc"),
        ("v19-1998bw", "fl-sn1bc"),
        ("v19-1993j", "fl-sn1bc"),
        ("salt2", "fl-sn1a"),
        ("salt3", "fl-sn1a"),
        ("mlcs2k2", "fl-sn1a"),
    ],
)
@pytest.mark.usefixtures("_forget")
def test_what_is_not_here_has_a_stand_in_of_its_kind_and_says_so(asked, stand_in):
    template = find_template(asked)
    assert (template.name, template.asked) == (stand_in, asked)
    assert template.as_document()["stand_in"] is True
    assert template.origin.startswith("bundled")


def test_what_nothing_can_stand_in_for_is_refused_with_a_way_out():
    with pytest.raises(AnalysisFailed, match="nothing can stand in") as failed:
        find_template("whalen-z15b")
    assert FOLDER_VARIABLE in failed.value.hint


def test_an_unknown_name_is_refused():
    with pytest.raises(AnalysisFailed, match="no source nugent-sn3"):
        find_template("nugent-sn3")


def _write_template(folder) -> None:
    path = folder / "models" / "nugent" / "sn2p_flux.v1.2.dat"
    path.parent.mkdir(parents=True)
    phases, waves = (0.0, 20.0, 60.0, 100.0), np.arange(1000.0, 25000.0, 500.0)
    path.write_text("\n".join(f"{p} {w} {1e-10 * (p + 1)}" for p in phases for w in waves))


@pytest.mark.parametrize("variable", ["SNCOSMO_DATA_DIR", FOLDER_VARIABLE])
@pytest.mark.usefixtures("_forget")
def test_a_template_in_a_local_folder_is_used(variable, tmp_path, monkeypatch):
    _write_template(tmp_path / "mine")
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    template = find_template("nugent-sn2p")
    assert not template.is_stand_in
    assert (template.name, template.version, template.kind) == ("nugent-sn2p", "1.2", "IIP")
    assert template.source.maxphase() == 100.0


# sncosmo leaves a file open that it cannot read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("_forget")
def test_broken_files_are_told_and_not_replaced_in_silence(tmp_path):
    path = tmp_path / "sncosmo" / "models" / "nugent" / "sn2p_flux.v1.2.dat"
    path.parent.mkdir(parents=True)
    path.write_text("<html>404</html>")
    with pytest.raises(AnalysisFailed, match="cannot be read"):
        find_template("nugent-sn2p")
    gc.collect()


@pytest.mark.usefixtures("_forget")
def test_a_download_that_fails_falls_back(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert find_template("nugent-sn2p", download=True).name == "fl-sn2p"


@pytest.mark.usefixtures("_forget")
def test_the_mirror_is_put_back():
    before = sncosmo.builtins.DATADIR
    with only_local_files():
        within = sncosmo.builtins.DATADIR
    assert within is not before
    assert sncosmo.builtins.DATADIR is before
    find_template("nugent-sn2p")
    assert sncosmo.builtins.DATADIR is before, "nor does a file that is missing change it"


@pytest.mark.usefixtures("_forget")
def test_one_candidate_of_each_kind_and_none_called_what_it_is_not():
    found = candidates()
    assert [template.kind for template in found] == ["Ia", "Ib/c", "IIP", "IIL", "IIn"]
    assert not any(template.is_stand_in for template in found)
