"""The same night on PostgreSQL and on S3 gives the same products as on a laptop."""

from __future__ import annotations

import hashlib
from pathlib import Path

import obstore
import pytest
from house import House, make_house, same

from fixtures_s3 import S3Server


@pytest.mark.postgres
def test_on_postgresql(reduced: House, sky: Path, postgres_url: str, tmp_path: Path) -> None:
    house = make_house(tmp_path / "w", "--database", postgres_url)
    assert not (house.folder / "firstlight.sqlite").exists()
    house.run("ingest", sky)
    assert "0 failures" in house.run("reduce").out
    assert same(house.tables(postgres_url), reduced.tables()) == []
    assert same(house.files(), reduced.files()) == []
    assert not list(house.folder.glob("*.sqlite*"))
    assert "nothing to do" in house.run("reduce").out
    assert house.run("stars", "--all", "--json").json == reduced.json("stars", "--all")


@pytest.mark.s3
@pytest.mark.slow
def test_on_s3(
    reduced: House, sky: Path, s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    settings = s3_server.settings(s3_bucket, "night")
    lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
    house = make_house(tmp_path / "w", settings="\n".join(["[storage]", *lines, ""]))
    house.run("ingest", sky)
    assert "0 failures" in house.run("reduce").out
    assert same(house.tables(), reduced.tables()) == []
    bucket = s3_server.client(s3_bucket)
    names = [str(each["path"]) for batch in obstore.list(bucket, "night/") for each in batch]
    stored = {
        name.removeprefix("night/"): hashlib.sha256(
            bytes(obstore.get(bucket, name).bytes())
        ).hexdigest()
        for name in names
    }
    assert same(stored, reduced.files()) == []
    house.ask("show", "demo_20240803_science_0001.fits", "--png", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'
