"""The page of quality: what is shown to whom, and marks."""

import pytest
from archived import archive
from reduced import reduce
from test_pages_objects import HTML, signed_in

from firstlight.pipeline.step import Workpiece
from firstlight.services.quality.reports import PixelFacts, QualityReporter
from firstlight.services.quality.settings import QualitySettings


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def exposure(client):
    database = client.services.database
    made = archive(database, client.services.store, 1)
    rows = reduce(database, client.services.store, made)
    piece = Workpiece(
        made, "0", image=rows["preprocess"], sources=rows["find_sources"],
        wcs=rows["solve_astrometry"], zero_point=rows["solve_photometry"],
    )  # fmt: skip
    with database.begin() as session:
        QualityReporter(QualitySettings(min_sources=1))(session, piece, PixelFacts(5.0, 0.0, 0.0))
    return made


def test_an_operator_sees_and_marks(client, exposure):
    _, ada = signed_in(client, "ada", roles=["Super admin"])
    page = client.get("/quality", headers={**ada, **HTML}).text
    assert exposure.base_filename in page
    assert 'action="/quality/mark"' in page
    assert (
        exposure.base_filename not in client.get("/quality?show=bad", headers={**ada, **HTML}).text
    )
    answer = client.post(
        "/quality/mark",
        headers=ada,
        data={"exposure": str(exposure.id), "badness": ["clouds", "bright sky"], "note": "haze"},
    )
    assert answer.status_code == 303
    page = client.get("/quality?show=bad", headers={**ada, **HTML}).text
    assert "clouds" in page
    assert "haze" in page


def test_strangers_see_and_mark_nothing(client, exposure):
    _, bob = signed_in(client, "bob", roles=["Full user"])
    page = client.get("/quality", headers={**bob, **HTML})
    assert page.status_code == 200
    assert exposure.base_filename not in page.text
    said = client.post("/quality/mark", headers=bob, data={"exposure": str(exposure.id)})
    assert said.status_code == 403
