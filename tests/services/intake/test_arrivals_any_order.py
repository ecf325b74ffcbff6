"""Files in any order, in any batches, any number of times: the rows are always the same."""

from __future__ import annotations

import uuid

import pytest
from arrival_files import jpg, packed, text
from arrival_workbench import Clock, Workbench, announce_in_order, batches
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

STACK = "tst-kb001ms-20220629-0000000"


def _files() -> list[tuple[str, bytes]]:
    """Files of a stack, of exposures that contradict themselves, and of others."""
    files = []
    for number in (1, 2):
        when = {"DATE-OBS": f"2022-06-30T04:05:0{number}", "SITELAT": 30.0 + number}
        name = f"data/{STACK}{number}"
        told = {"SMARTSTK": "s1", "FILTER": f"f{number}", **when}
        files += [
            (f"{name}-EP00.txt", text(OBJECT="text", **told)),
            (f"{name}-EP10.jpg", jpg(seed=number)),
            (f"{name}-EP10.fits.fz", packed(3, OBJECT="small", **told)),
        ]
    files += [
        (f"data/{STACK}1-EP11.jpg", jpg(64, 48, seed=9)),
        (f"data/{STACK}1-EP00.fits.fz", packed(1, OBJECT="large", SMARTSTK="no")),
        (f"data/{STACK}1-EP01.fits.fz", packed(2, OBJECT="calibrated", SMARTSTK="s2")),
        (f"data/{STACK}3-EX01.fits.fz", packed(4, OBJECT="no text", IMAGETYP="dark")),
        (f"data/{STACK}3-EX13.jpg", jpg(seed=7)),
        (f"data/{STACK}4-EX00.txt", text(EXPTIME="long", OBJCTRA=99.0)),
        (f"data/{STACK}4-EX10.fits.fz", packed(5, **{"DATE-OBS": "never"})),
        (f"allsky/{STACK}1-EX10.jpg", jpg(seed=8)),
    ]
    # The first two come a second time from elsewhere; announced later, they may be read first.
    return [*files, *files[:2]]


@pytest.fixture(scope="module")
def in_order(any_database, tmp_path_factory):
    """The bench, its announcements, and the rows of an ordered run."""
    bench = Workbench(tmp_path_factory.mktemp("order"), any_database)
    bench.empty()
    offers = [
        bench.offer(name, content, folder=f"inbox{place}")
        for place, (name, content) in enumerate(_files())
    ]
    with pytest.MonkeyPatch.context() as patch:
        ids = announce_in_order(bench, offers, Clock(), patch)
    for each in ids:
        bench.service.take([each])
    return bench, offers, bench.tables()


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes half a second
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_order_and_repetition_gives_the_same_rows(in_order, data):
    bench, offers, expected = in_order
    bench.empty()
    with pytest.MonkeyPatch.context() as patch:
        ids = announce_in_order(bench, offers, Clock(), patch)
    order: list[uuid.UUID] = data.draw(st.permutations(ids), label="order")
    again = data.draw(st.lists(st.sampled_from(ids), max_size=6), label="again")
    size = data.draw(st.integers(1, 7), label="batch")
    for batch in batches([*order, *again], size):
        bench.service.take(batch)
    assert bench.tables() == expected


def test_the_ordered_run_is_what_it_should_be(in_order):
    bench, _, tables = in_order
    counts = {name: len(rows) for name, rows in tables.items()}
    assert counts["exposures"] == 5
    assert counts["exposure_files"] == 16  # 14 that came, and thumbnails of two pictures
    assert counts["exposure_headers"] == 9
    assert counts["observations"] == 2  # the stack, and the one that lacks its coordinates
    by_name = {(row.collection, row.base_filename[-1]): row for row in bench.exposures()}
    first = by_name["data", "1"]
    assert (first.target, first.smart_stack) == ("text", "s1")
    assert first.filename.endswith("-EP00.fits.fz")
    assert first.expires_at is not None
    assert by_name["data", "3"].kind == "dark"
    assert by_name["data", "4"].ra is None
