"""Make the table of filters from the curves of sncosmo and speclite.

Usage: ``python tools/make_filter_table.py [--data FOLDER] [--curves FOLDER]``

Needs the packages sncosmo and speclite (both BSD); ``--data`` is sncosmo's folder of data where
it cannot be downloaded by sncosmo itself, ``--curves`` a folder of two-column tables
``NAME.csv`` (Angstrom, transmission of photons) used for filters whose data are not there, such
as pyphot's ``libs/ascii_sources`` (MIT).

Only numbers are kept of each filter: the mean wavelength weighted with the transmission of
photons, the pivot wavelength, and AB minus the magnitude in the system of Vega and of
BD+17 4708, both of which have magnitude zero in their own system (sncosmo's reading of the
CALSPEC spectra ``alpha_lyr_stis_007`` and ``bd_17d4708_stisnic_005``).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sncosmo
import speclite.filters
from sncosmo.bandpasses import _BANDPASSES

TABLE = Path(__file__).parent.parent / "src/firstlight/services/objects/bandpasses.csv"

# Filters that sncosmo names and reads from elsewhere: the same curve under another name.
SAME_AS = {
    "2massj": "twomass-J", "2massh": "twomass-H", "2massks": "twomass-Ks",
    "gaia::g": "gaiadr3-G", "gaia::gbp": "gaiadr3-BP", "gaia::grp": "gaiadr3-RP",
    "galex::fuv": "galex-fuv", "galex::nuv": "galex-nuv",
    "megacam6::g": "cfht_megacam-g", "megacam6::r": "cfht_megacam-r",
    "megacam6::i": "cfht_megacam-i", "megacam6::i2": "cfht_megacam-i",
    "megacam6::z": "cfht_megacam-z",
    "tess": "tess.csv", "gaia::grvs": "gaia_rvs.csv",
}  # fmt: skip
# What people call a curve of sncosmo, beside sncosmo's own name.
ALSO = {"bessellu": "bessellux"}
# Edges in nanometres of filters whose curves neither has: a flat top stands for them.
FLAT = {
    # Tonry et al. (2018), PASP 130, 064505.
    "atlasc": (420, 650), "atlaso": (560, 820),
    # Steeghs et al. (2022), MNRAS 511, 2405, figure 5.
    "gotol": (400, 700), "gotob": (395, 505), "gotog": (495, 585), "gotor": (585, 700),
    # Bessell et al. (2011), PASP 123, 789, table 2: centre and width.
    "skymapperu": (328, 370), "skymapperg": (431.5, 588.5), "skymapperr": (537.5, 693.5),
    "skymapperi": (708, 848), "skymapperz": (875, 957),
}  # fmt: skip
FAMILIES = (
    "sdss2010-*", "sdss2010noatm-*", "decam2014-*", "decamDR1-*", "decamDR1noatm-*", "wise2010-*",
    "hsc2017-*", "lsst2016-*", "lsst2023-*", "bessell-*", "BASS-*", "MzLS-*", "Euclid-*",
    "cfht_megacam-*", "gaiadr2-*", "gaiadr3-*", "galex-*", "ibis-*", "odin-*", "panstarrs-*",
    "suprime-*", "twomass-*",
)  # fmt: skip


# AB less Vega where the mission itself states its zero points: Riello et al. (2021), Gaia EDR3.
STATED = {
    **dict.fromkeys(("gaia::g", "gaiadr3-G"), "0.1136"),
    **dict.fromkeys(("gaia::gbp", "gaiadr3-BP"), "0.0155"),
    **dict.fromkeys(("gaia::grp", "gaiadr3-RP"), "0.3561"),
}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--curves", type=Path)
    options = parser.parse_args()
    if options.data:
        sncosmo.conf.data_dir = str(options.data)
    systems = {name: sncosmo.get_magsystem(name) for name in ("vega", "bd17")}
    rows = []
    for name, band, source in sorted(_bands(options.curves), key=lambda found: found[0]):
        try:
            offsets = [_offset(system, band) for system in systems.values()]
        except ValueError:  # beyond the end of the star's spectrum
            offsets = ["", ""]
        offsets[0] = STATED.get(name, offsets[0])
        rows.append([name, f"{band.wave_eff:.0f}", f"{_pivot(band):.0f}", *offsets, source])
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "wavelength", "pivot", "vega", "bd17", "source"])
        writer.writerows(rows)
    print(f"{len(rows)} filters in {TABLE}")


def _bands(curves: Path | None) -> Iterator[tuple[str, sncosmo.Bandpass, str]]:
    known = {}
    for family in FAMILIES:
        for response in speclite.filters.load_filters(family):
            band = sncosmo.Bandpass(response.wavelength, response.response, name=response.name)
            known[response.name] = band
            yield response.name, band, "speclite"
    for name, known_as in ALSO.items():
        yield name, sncosmo.get_bandpass(known_as), "sncosmo"
    for entry in _BANDPASSES.get_loaders_metadata():
        name = entry["name"]
        try:
            yield name, sncosmo.get_bandpass(name), "sncosmo"
        except Exception as fault:  # noqa: BLE001, whatever keeps one from being read is told
            if name in FLAT:
                low, high = (10.0 * edge for edge in FLAT[name])
                wave = np.array([low - 1, low, high, high + 1])
                yield name, sncosmo.Bandpass(wave, [0.0, 1.0, 1.0, 0.0]), "published edges"
            elif SAME_AS.get(name) in known:
                yield name, known[SAME_AS[name]], "speclite"
            elif curves is not None and name in SAME_AS:
                yield name, _read(curves / SAME_AS[name]), "pyphot"
            else:
                print(f"left out: {name}: {str(fault)[:80]}")


def _read(path: Path) -> sncosmo.Bandpass:
    text = path.read_text()
    rows = [line.split(",") for line in text.splitlines() if line[:1].isdigit()]
    wave, share = np.array(rows, float).T[:2]
    wave, first = np.unique(wave, return_index=True)
    if "WAVELENGTH_UNIT\tnm" in text:
        wave = 10.0 * wave
    return sncosmo.Bandpass(wave, share[first])


def _pivot(band: sncosmo.Bandpass) -> float:
    wave = np.linspace(band.minwave(), band.maxwave(), 20_000)
    share = band(wave)
    return float(np.sqrt(np.sum(share * wave) / np.sum(share / wave)))


def _offset(system: sncosmo.MagSystem, band: sncosmo.Bandpass) -> str:
    """AB magnitude of the star whose magnitude is zero."""
    star, flat = system.zpbandflux(band), sncosmo.get_magsystem("ab").zpbandflux(band)
    return f"{-2.5 * np.log10(star / flat):.4f}"


if __name__ == "__main__":
    main()
