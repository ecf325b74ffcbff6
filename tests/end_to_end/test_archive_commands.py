"""Each command of the archive on a pretend night: what it prints, writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from astropy.io import fits
from house import House, make_house
from PIL import Image as Picture

from firstlight.simulation.delivery import FolderReceiver, deliver
from firstlight.simulation.pretend_site import PretendSite, SiteSettings

ONE = "tst-kb001ms-20240803-00000002"


@pytest.fixture(scope="module")
def site() -> PretendSite:
    return PretendSite(
        SiteSettings(exposures=6, corrupt=0.04, rows=96, columns=128, pixel_scale=20.0)
    )


@pytest.fixture(scope="module")
def house(site: PretendSite, tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("archive")
    made = make_house(folder / "w")
    deliver(site, site.files, FolderReceiver(folder / "in"))
    made.run("watch", folder / "in", "--once", "--no-reduce")
    return made


def test_search(house: House):
    found = house.json("archive", "search", "site=tst", "--limit", "4")
    assert len(found["exposures"]) == 4
    rest = house.json("archive", "search", "site=tst", "--cursor", found["next"])
    assert len(rest["exposures"]) == 2
    assert rest["next"] is None
    names = [row["base_filename"] for row in found["exposures"] + rest["exposures"]]
    assert names == sorted(names, reverse=True)
    assert house.json("archive", "search", f"name={ONE}", "exp_time_min=5")["exposures"]
    assert house.json("archive", "search", "cards=SITEID=tst", "filter=zz")["exposures"] == []
    assert ONE in house.ask("archive", "search").out
    assert "no exposure fits" in house.ask("archive", "search", "site=xyz").out


def test_search_as_a_table(house: House):
    rows = list(csv.DictReader(io.StringIO(house.run("archive", "search", "--table", "csv").out)))
    assert len(rows) == 6
    assert {row["site"] for row in rows} == {"tst"}
    assert "<VOTABLE" in house.run("archive", "search", "--table", "votable").out


def test_header(house: House, site: PretendSite):
    cards = {card[0]: card[1] for card in house.json("archive", "header", ONE)}
    assert cards["USERNAME"] == site.exposures[1].username
    assert "OBJCTRA" in house.ask("archive", "header", ONE).out


def test_uploads(house: House, site: PretendSite):
    page = house.json("archive", "uploads", "--site", "tst", "--limit", "1000")
    assert len(page["uploads"]) == len(site.files)
    bad = house.json("archive", "uploads", "--state", "quarantined")["uploads"]
    assert {row["name"] for row in bad} == {f.name for f in site.files if f.fault}
    assert all(row["error"]["message"] for row in bad)


def test_get(house: House, site: PretendSite, tmp_path: Path):
    paths = [
        Path(line) for line in house.ask("archive", "get", ONE, "--folder", tmp_path).out.split()
    ]
    sent = {Path(f.name).name: f for f in site.files if ONE in f.name and f.fault is None}
    assert {path.name for path in paths} >= set(sent)
    for path in paths:
        if path.name in sent:
            assert path.read_bytes() == site.content(sent[path.name])
    plain = house.ask("archive", "get", ONE, "--form", "fits", "--folder", tmp_path).out.strip()
    with fits.open(plain) as hdus:
        assert hdus[0].data.shape == (96, 128)
    tiff = house.ask("archive", "get", ONE, "--form", "tiff", "--folder", tmp_path).out.strip()
    with Picture.open(tiff) as picture:
        assert picture.size == (128, 96)


def test_zip(house: House, tmp_path: Path):
    path = tmp_path / "night.zip"
    house.ask("archive", "zip", "tst", "2024-08-04", "2024-08-05", "--to", path)
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        assert len([name for name in packed.namelist() if name.endswith(".fits.fz")]) == 6


def test_observations(house: House):
    (found,) = [
        row for row in house.json("observations", "list")["items"] if row["image_count"] == 5
    ]
    shown = house.json("observations", "show", found["id"])
    assert len(shown["items"]["images"]) == 5
    lines = house.ask("observations", "files", found["id"]).out.splitlines()
    assert any(line.endswith(".fits.fz") for line in lines)
    assert "no observation fits" in house.ask("observations", "list", "unit=nobody").out


def test_info_image(house: House, tmp_path: Path):
    own = House(house.copy_to(tmp_path / "w").folder)
    Picture.new("RGB", (300, 200), "navy").save(tmp_path / "colour.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    put = own.json("infoimage", "put", tmp_path / "colour.jpg", "--site", "tst", "--channel", "2")
    assert put["base_filename"].startswith("tst-info-")
    assert put["shown"]
    done = own.ask("infoimage", "put", tmp_path / "broken.jpg", "--site", "tst", code=2)
    assert "picture" in done.err
    assert "channel" in own.ask("infoimage", "put", "x.png", "--site", "tst", code=2).err


def test_expire(house: House):
    report = house.json("expire", "--dry-run")
    assert report["dry_run"]
    assert report["removed"] == {}
    assert "nothing" in house.ask("expire", "--dry-run").out


def test_tokens(house: House, tmp_path: Path):
    own = house.copy_to(tmp_path / "w")
    made = own.json("token", "create", "dome", "--scope", "upload", "--site", "tst")
    assert made["token"].startswith("fl_")
    assert made["sites"] == ["tst"]
    (row,) = own.json("token", "list")
    assert "token" not in row
    own.ask("token", "revoke", "dome")
    assert own.json("token", "list")[0]["revoked_at"]
    assert "revoked" in own.ask("token", "list").out
    assert own.ask("token", "revoke", "nobody", code=3)


def test_webhooks(house: House, tmp_path: Path):
    own = house.copy_to(tmp_path / "w")
    made = own.json("webhook", "add", "https://example.org/hook", "--site", "tst")
    assert made["secret"]
    (row,) = own.json("webhook", "list")
    assert "secret" not in row
    own.ask("webhook", "remove", made["id"])
    assert own.json("webhook", "list") == []
    assert "no webhooks yet" in own.ask("webhook", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["archive", "search", "foo"], 2, "KEY=VALUE"),
        (["archive", "search", "fitler=w"], 2, "did you mean filter"),
        (["archive", "search", "--cursor", "x"], 2, "search.bad_cursor"),
        (["archive", "get", "nobody"], 3, "exposure.not_found"),
        (["archive", "header", "nobody"], 3, "exposure.not_found"),
        (["archive", "zip", "xyz", "2024-08-04", "2024-08-05"], 3, "download.nothing"),
        (["archive", "uploads", "--state", "lost"], 2, "quarantined"),
        (["observations", "list", "stat=done"], 2, "stat"),
        (["observations", "show", "nothing"], 3, "observation.missing"),
        (["token", "create", "x", "--scope", "fly"], 2, "some of read"),
        (["webhook", "remove", "x"], 2, "webhook list"),
        (["simulate-site", "nowhere", "--site", "../x"], 2, "settings"),
    ],
)
def test_mistakes(house: House, arguments: list[str], code: int, words: str):
    done = house.ask(*arguments, code=code)
    assert words in done.err
    assert done.out == ""


def test_json_of_a_watch_is_a_line_a_report(house: House, tmp_path: Path):
    own = house.copy_to(tmp_path / "w")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "tst-kb001ms-20240803-00000099-EX10.jpg").write_bytes(b"no picture")
    done = own.run("watch", tmp_path / "in", "--once", "--no-reduce", "--json")
    (line,) = done.out.splitlines()
    report = json.loads(line)
    assert (report["quarantined"], report["waiting"]) == (1, 0)
    assert report["refused"][0]["error"]["code"].startswith("picture.")
