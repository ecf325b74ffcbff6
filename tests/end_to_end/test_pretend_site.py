"""A pretend site and its archive: any order, any number of times, damage: the same rows."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pretended
import pytest
import sqlalchemy as sa
from house import House, make_house

from firstlight.models.exposure import Exposure
from firstlight.simulation.delivery import (
    DeliverySettings,
    FolderReceiver,
    deliver,
    delivery_order,
)
from firstlight.simulation.pretend_site import PretendSite, SiteSettings
from firstlight.storage import open_store

TROUBLE = DeliverySettings(order="shuffled", twice=0.1, header_last=0.05)


@dataclass
class Archived:
    """A house, and what it has taken in."""

    house: House
    incoming: Path

    def check(self, site: PretendSite) -> dict[str, list[str]]:
        url = self.house.database_url
        pretended.assert_complete(site, url, open_store(self.house.folder / "data"))
        return pretended.rows(url)


@pytest.fixture(scope="module")
def site() -> PretendSite:
    return PretendSite(
        SiteSettings(
            exposures=20, all_sky=2, corrupt=0.05, without_header=0.1, rows=96, columns=128,
            pixel_scale=20.0,
        )
    )  # fmt: skip


def archive(folder: Path, site: PretendSite, order: DeliverySettings) -> Archived:
    incoming = folder / "in"
    house = make_house(folder / "w")
    deliver(site, delivery_order(site.files, order), FolderReceiver(incoming))
    done = house.run("watch", incoming, "--once", "--no-reduce")
    good = sum(file.fault is None for file in site.files)
    assert f"{good} archived" in done.out
    assert done.err.count("refused") >= len(site.files) - good
    return Archived(house, incoming)


@pytest.fixture(scope="module")
def ordered(site: PretendSite, tmp_path_factory: pytest.TempPathFactory) -> Archived:
    return archive(tmp_path_factory.mktemp("ordered"), site, DeliverySettings())


def test_in_order_every_good_file_is_archived_and_every_other_quarantined(
    site: PretendSite, ordered: Archived
):
    ordered.check(site)


def test_shuffled_and_repeated_the_rows_are_the_same(
    site: PretendSite, ordered: Archived, tmp_path: Path
):
    shuffled = archive(tmp_path, site, TROUBLE)
    assert pretended.differences(shuffled.check(site), ordered.check(site)) == []


def test_what_comes_again_changes_nothing(site: PretendSite, ordered: Archived, tmp_path: Path):
    again = Archived(ordered.house.copy_to(tmp_path / "w"), tmp_path / "in")
    before = again.check(site)
    deliver(site, site.files, FolderReceiver(again.incoming))
    done = again.house.run("watch", again.incoming, "--once", "--no-reduce")
    assert "0 archived" in done.out
    assert pretended.differences(again.check(site), before) == []


def test_what_arrives_while_it_watches_is_reduced(tmp_path: Path):
    site = PretendSite(SiteSettings(exposures=2, focus=0.0, experimental=0.0))
    house, incoming = make_house(tmp_path / "w"), tmp_path / "in"
    process = house.start("watch", incoming, "--workers", "1")
    try:
        deliver(site, site.files, FolderReceiver(incoming, slowly=True))
        deadline = time.monotonic() + 120
        while states(house) != ["done", "done"]:
            assert time.monotonic() < deadline, states(house)
            assert process.poll() is None, process.communicate()
            time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert out.splitlines()[-1] == "10 archived"
    assert "the same command again goes on from here" in err
    found = house.json("archive", "search", "reduction_state=done", "filter=w")["exposures"]
    assert [row["base_filename"] for row in found] == [
        exposure.base_filename for exposure in reversed(site.exposures)
    ]


def states(house: House) -> list[str]:
    engine = sa.create_engine(house.database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(Exposure.reduction_state)))
