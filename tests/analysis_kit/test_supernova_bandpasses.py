"""Passbands: names, and fluxes through them."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest
import sncosmo

from firstlight.analysis_kit.supernova_bandpasses import passband
from firstlight.analysis_kit.supernova_likelihood import band_flux
from firstlight.analysis_kit.supernova_sources import bundled_source

_LONGEST = 25000.0


@pytest.fixture(autouse=True)
def _nothing_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path))
    passband.cache_clear()
    yield
    passband.cache_clear()


def _portal_filters() -> list[str]:
    table = files("firstlight.services.objects") / "bandpasses.csv"
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    return [row["name"] for row in rows if 1700.0 < float(row["wavelength"]) < _LONGEST]


@pytest.mark.parametrize("name", _portal_filters())
def test_each_filter_of_the_portal_measures_a_flat_spectrum_as_it_is(name):
    band = passband(name)
    assert band is not None
    flat = 1e-29 * 2.99792458e18 / band.wave**2  # 1 µJy
    assert flat @ band.weight == pytest.approx(1.0, rel=2e-3)
    assert band.reach[0] < band.mean_wave < band.reach[1]


@pytest.mark.parametrize("name", ["bessellux", "bessellb", "bessellv", "bessellr", "besselli"])
def test_few_wavelengths_are_as_good_as_sncosmos_many(name):
    model = sncosmo.Model(bundled_source("fl-sn1a"))
    model.set(z=0.03, t0=50000.0)
    mjd = 50000.0 + np.array([-10.0, 0.0, 12.0, 40.0])
    ours = band_flux(model, passband(name), mjd)
    assert ours == pytest.approx(model.bandflux(name, mjd, 23.9, "ab"), rel=2e-3)


@pytest.mark.parametrize(
    ("name", "curve"),
    [("B", "bessellb"), ("g", "sdssg"), ("VT", "bessellv"), ("Clear", "gaia::g"), ("J", "2massj")],
)
def test_other_names_are_understood_and_told(name, curve):
    band = passband(name)
    assert (band.name, band.curve) == (name, curve)
    assert "stands for it" in band.origin


def test_upper_and_lower_case_letters_are_different_filters():
    assert passband("R").curve == "bessellr"
    assert passband("r").curve == "sdssr"


def test_what_is_unknown_is_nothing():
    assert passband("Hα of my own") is None


def test_a_trapezoid_is_told_as_one():
    assert "trapezoid" in passband("ztfg").origin
    assert passband("bessellb").origin == "sncosmo's curve"
