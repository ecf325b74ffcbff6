"""A pretend site: real-looking files, the same for the same seed, faults where they are told."""

from __future__ import annotations

import io
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Picture

from firstlight.errors import BadSettings, FirstlightError
from firstlight.formats.fits_file import inspect
from firstlight.formats.header_text import parse_header_text
from firstlight.formats.picture import read_picture
from firstlight.simulation.delivery import (
    DeliverySettings,
    FolderReceiver,
    StoreReceiver,
    deliver,
    delivery_order,
)
from firstlight.simulation.pretend_site import FILE_KINDS, PretendSite, SiteSettings
from firstlight.storage import open_store

NAME = re.compile(
    r"(data|allsky|info-images)/tst-[a-z0-9]+-20240803-\d{8}-E[XPF](00|01|10)\.(txt|jpg|fits\.fz)"
)
WANTED = {
    "OBJCTRA", "OBJCTDEC", "ALTITUDE", "AZIMUTH", "FILTER", "AIRMASS", "EXPTIME", "USERID",
    "USERNAME", "DATE-OBS", "SMARTSTK", "SSTKNUM", "SSTKLEN", "SITEID", "INSTRUME", "DAY-OBS",
    "ORIGNAME",
}  # fmt: skip
SMALL = {"rows": 64, "columns": 96, "pixel_scale": 30.0}


@pytest.fixture(scope="module")
def site() -> PretendSite:
    return PretendSite(SiteSettings(exposures=6, info_images=2, all_sky=1, **SMALL))


def test_an_exposure_is_five_files_of_the_grammar(site: PretendSite):
    assert all(NAME.fullmatch(file.name) for file in site.files)
    assert len({file.name for file in site.files}) == len(site.files)
    for place in range(6):
        assert tuple(f.kind for f in site.files if f.exposure == place) == FILE_KINDS
    assert Counter(f.name.split("/")[0] for f in site.files) == {
        "data": 30, "allsky": 2, "info-images": 6,
    }  # fmt: skip


def test_header_text_is_cards_of_eighty_characters(site: PretendSite):
    file, exposure = site.files[0], site.exposures[0]
    text = site.content(file)
    assert len(text) % 80 == 0
    assert text[-80:].rstrip() == b"END"
    header = parse_header_text(text)
    assert set(header) >= WANTED
    assert len(header) > 90
    assert header["OBJCTRA"] * 15 == pytest.approx(exposure.ra, abs=1e-6)
    assert header["DATE-OBS"] == exposure.date_obs
    assert datetime.fromisoformat(exposure.date_obs).date() >= exposure.night


def test_header_of_the_pixels_is_that_of_the_text(site: PretendSite):
    content = {file.kind: site.content(file) for file in site.files[:5]}
    text = parse_header_text(content["header"])
    for kind, shape in (("large", (64, 96)), ("calibrated", (64, 96)), ("small", (16, 24))):
        with fits.open(io.BytesIO(content[kind])) as hdus:
            assert hdus[1].data.shape == shape
            assert hdus[1].data.dtype == np.uint16
            assert all(hdus[1].header[key] == text[key] for key in WANTED)
    with Picture.open(io.BytesIO(content["picture"])) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (96, 64)


def test_the_stars_are_those_of_the_sky():
    site = PretendSite(SiteSettings(exposures=1))
    picture = next(file for file in site.files if file.kind == "large")
    with fits.open(io.BytesIO(site.content(picture))) as hdus:
        pixels = hdus[1].data.astype(float)
    sky, noise = np.median(pixels), np.median(np.abs(pixels - np.median(pixels))) * 1.48
    assert (pixels > sky + 20 * noise).sum() > 200
    assert pixels.max() < 65535


def test_same_seed_same_bytes_other_seed_other_bytes(site: PretendSite):
    again, other = PretendSite(site.settings), PretendSite(SiteSettings(seed=2, **SMALL))
    assert again.files == site.files
    assert [again.content(f) for f in again.files] == [site.content(f) for f in site.files]
    assert other.content(other.files[2]) != site.content(site.files[2])
    assert again.truth() == site.truth()


def test_shares_are_kept():
    site = PretendSite(SiteSettings(exposures=200, without_header=0.1, corrupt=0.02, **SMALL))
    assert Counter(e.data_type for e in site.exposures) == {"EX": 180, "EP": 10, "EF": 10}
    assert len(site.files) == 980
    assert sum(file.fault is not None for file in site.files) == 20
    stacks = Counter(e.stack for e in site.exposures if e.stack != "no")
    assert set(stacks.values()) == {5}
    for exposure in site.exposures:
        assert 0 <= exposure.stack_number < exposure.stack_length
        assert exposure.altitude > 0


def test_what_is_said_to_be_corrupt_is_and_the_rest_is_not(tmp_path: Path):
    site = PretendSite(SiteSettings(exposures=12, corrupt=0.5, **SMALL))
    seen = set()
    for file in site.files:
        path = tmp_path / Path(file.name).name
        path.write_bytes(site.content(file))
        named_well = NAME.fullmatch(file.name) is not None
        assert named_well == (file.fault != "bad name")
        if file.fault in (None, "bad name"):
            _read(path, file.kind)
        else:
            with pytest.raises(FirstlightError):
                _read(path, file.kind)
        seen.add(file.fault)
    assert seen == {None, "truncated", "garbage", "no header", "bad name"}


def _read(path: Path, kind: str) -> None:
    if kind == "header":
        parse_header_text(path.read_bytes())
    elif kind == "picture":
        read_picture(path)
    else:
        inspect(path, pixels=True)


def test_the_old_compression(tmp_path: Path):
    site = PretendSite(SiteSettings(exposures=1, compression="bz2", **SMALL))
    large = next(file for file in site.files if file.kind == "large")
    assert large.name.endswith("EX00.fits.bz2")
    path = tmp_path / "x.fits.bz2"
    path.write_bytes(site.content(large))
    assert inspect(path, pixels=True).compression == "bzip2"


def test_orders(site: PretendSite):
    assert delivery_order(site.files, DeliverySettings()) == list(site.files)
    plan = DeliverySettings(order="shuffled", twice=0.25, header_last=0.5)
    order = delivery_order(site.files, plan)
    assert order == delivery_order(site.files, plan)
    counts = Counter(order)
    assert set(counts) == set(site.files)
    assert sum(count == 2 for count in counts.values()) == round(0.25 * len(site.files))
    assert order[:5] != list(site.files[:5])
    firsts = list(dict.fromkeys(order))
    last = [
        place
        for place in {file.exposure for file in firsts if file.kind == "header"}
        if [file.kind for file in firsts if file.exposure == place][-1] == "header"
    ]
    assert len(last) >= 4


@pytest.mark.parametrize("slowly", [False, True])
def test_delivery_to_a_folder(site: PretendSite, tmp_path: Path, slowly: bool):
    told: list[int] = []
    sent = deliver(
        site,
        site.files[:5],
        FolderReceiver(tmp_path, slowly=slowly),
        rate=1000.0,
        on_sent=lambda done, _last: told.append(done),
    )
    assert told == [1, 2, 3, 4, 5]
    files = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if p.is_file()}
    assert set(files) == {file.name for file in site.files[:5]}
    for each in sent:
        assert files[each.file.name].read_bytes() == site.content(each.file)
        assert each.size == len(site.content(each.file))


def test_delivery_to_a_store_twice(site: PretendSite, tmp_path: Path):
    store = open_store(tmp_path)
    deliver(site, [*site.files[:2], site.files[0]], StoreReceiver(store))
    assert [entry.key for entry in store.list()] == sorted(f.name for f in site.files[:2])


def test_settings_that_cannot_be():
    with pytest.raises(BadSettings, match="more than one"):
        PretendSite(SiteSettings(experimental=0.7, focus=0.7))
    with pytest.raises(BadSettings, match="site"):
        SiteSettings(site="../x")
