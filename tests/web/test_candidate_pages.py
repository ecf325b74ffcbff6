"""Candidates: what is listed to whom, their pictures, and verdicts."""

import html
import io
import re

import numpy as np
import pytest
from archived import archive
from measured import measure
from PIL import Image as Picture
from reduced import reduce
from test_pages_objects import HTML, signed_in

from firstlight.web.pages import candidates as pages

NAMES = ("FL26aaa", "FL26aab", None)


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def numbers(client):
    exposure = archive(client.services.database, client.services.store, 1)
    rows = reduce(client.services.database, client.services.store, exposure)
    return measure(client.services.database, client.services.store, exposure, rows, names=NAMES)


@pytest.fixture
def ada(client):
    return signed_in(client, "ada", roles=["Super admin"])[1]


@pytest.fixture
def bob(client):
    return signed_in(client, "bob", roles=["Full user"])[1]


def listed(client, headers, words=""):
    answer = client.get(f"/api/candidates?{words}", headers=headers)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]["candidates"]]


def test_what_is_kept_is_listed_and_all_else_on_request(client, ada, numbers):
    assert listed(client, ada) == numbers[1::-1]
    assert listed(client, ada, "kept=false") == numbers[::-1]
    assert listed(client, ada, "min_score=11.5") == numbers[:1]
    assert listed(client, ada, "sign=fainter") == []
    assert listed(client, ada, "filter=rp") == numbers[1::-1]
    assert listed(client, ada, "filter=g") == []
    assert listed(client, ada, "obj_id=FL26aab") == numbers[1:2]
    assert listed(client, ada, "since=59760&until=59761") == numbers[1::-1]
    assert listed(client, ada, "since=59761") == []
    assert listed(client, ada, "numPerPage=1&pageNumber=2") == numbers[:1]


def test_pages_of_the_api_go_on_where_the_last_one_ended(client, ada, numbers):
    words = "judged=none&numPerPage=1"
    first = client.get(f"/api/candidates?{words}", headers=ada).json()["data"]
    judged = first["candidates"][0]["id"]
    said = client.request(
        "PUT", f"/api/candidates/{judged}/verdict", headers=ada, json={"verdict": "real"}
    )
    assert said.status_code == 200
    asked = f"/api/candidates?{words}&after={first['nextAfter']}"
    second = client.get(asked, headers=ada).json()["data"]
    assert [judged, second["candidates"][0]["id"]] == numbers[1::-1]
    assert second["nextAfter"] is None
    for wrong, field in ((f"{asked}&pageNumber=2", "pageNumber"), (f"{asked}x", "after")):
        answer = client.get(wrong, headers=ada)
        assert answer.status_code == 400
        assert field in answer.text


def test_strangers_see_none_of_it(client, bob, numbers):
    assert listed(client, bob, "kept=false") == []
    assert client.get(f"/candidates/{numbers[0]}/triplet.png", headers=bob).status_code == 404
    said = client.request(
        "PUT", f"/api/candidates/{numbers[0]}/verdict", headers=bob, json={"verdict": "real"}
    )
    assert said.status_code == 404


def test_the_page_shows_them_and_its_form_asks(client, ada, numbers):
    page = client.get("/candidates", headers={**ada, **HTML})
    assert page.status_code == 200
    assert "FL26aaa" in page.text
    assert "it is drawn out" not in page.text
    assert "it is drawn out" in client.get("/candidates?kept=no", headers={**ada, **HTML}).text
    assert "FL26aaa" in client.get("/candidates?since=2022-06-30", headers={**ada, **HTML}).text
    assert (
        "Nothing like that"
        in client.get("/candidates?since=2022-07-01", headers={**ada, **HTML}).text
    )
    label = archive(client.services.database, client.services.store, 2).label
    other = client.get(f"/candidates?exposure={label}", headers={**ada, **HTML}).text
    assert "Nothing like that" in other
    asked = re.search(r'href="/exposures/([^"]+)">([^<]+)<', page.text)
    for name in asked.groups():
        found = client.get(f"/candidates?exposure={name}", headers={**ada, **HTML}).text
        assert "FL26aaa" in found
    wrong = client.get("/candidates?score=much&object=FL26aab", headers={**ada, **HTML})
    assert wrong.status_code == 400
    assert "a number" in wrong.text  # what is wrong, above a form that is still filled in
    assert 'value="much"' in wrong.text
    assert 'value="FL26aab"' in wrong.text
    assert client.get("/candidates?kept=perhaps", headers={**ada, **HTML}).status_code == 400


def test_the_next_page_goes_on_behind_what_was_judged_on_this_one(client, ada, monkeypatch):
    monkeypatch.setattr(pages, "_PAGE", 2)
    database, store = client.services.database, client.services.store
    exposure = archive(database, store, 1)
    rows = reduce(database, store, exposure)
    names = [f"FL26aa{letter}" for letter in "abcde"]
    numbers = measure(database, store, exposure, rows, names=names)
    address, shown = "/candidates?judged=none", []
    while address:
        text = client.get(address, headers={**ada, **HTML}).text
        page = [int(number) for number in re.findall(r'data-candidate="(\d+)"', text)]
        for number in page:
            client.post(f"/candidates/{number}/judge", headers=ada, data={"verdict": "bogus"})
        shown += page
        found = re.search(r'rel="next" href="([^"]+)"', text)
        address = found and html.unescape(found[1])
    assert shown == numbers[::-1], "each is shown, and once"
    wrong = client.get("/candidates?after=yesterday", headers={**ada, **HTML})
    assert wrong.status_code == 400
    assert "of a candidate" in wrong.text


def test_the_picture_is_three_stamps_side_by_side(client, ada, numbers):
    answer = client.get(f"/candidates/{numbers[0]}/triplet.png", headers=ada)
    assert answer.headers["content-type"] == "image/png"
    levels = np.asarray(Picture.open(io.BytesIO(answer.content)))
    assert levels.shape == (11, 35)
    middle = levels[5]
    assert middle[5] == 255  # the source, in the new image
    assert middle[17] < 255  # not in the reference
    assert middle[29] == 255  # and in the difference
    # Where nothing changed the difference is grey.
    assert 90 < np.median(levels[:, 24:]) < 165


def test_a_verdict_is_kept_taken_back_and_looked_for(client, ada, numbers):
    def judge(verdict):
        said = client.request(
            "PUT", f"/api/candidates/{numbers[0]}/verdict", headers=ada, json={"verdict": verdict}
        )
        assert said.status_code == 200, said.text

    assert listed(client, ada, "judged=none") == numbers[1::-1]
    judge("real")
    assert listed(client, ada, "judged=real") == numbers[:1]
    assert listed(client, ada, "judged=none") == numbers[1:2]
    judge("bogus")
    assert listed(client, ada, "judged=real") == []
    assert listed(client, ada, "judged=bogus") == numbers[:1]
    judge(None)
    assert listed(client, ada, "judged=none") == numbers[1::-1]


def test_the_buttons_work_without_scripts(client, ada, numbers):
    answer = client.post(
        f"/candidates/{numbers[1]}/judge",
        headers=ada,
        data={"verdict": "bogus", "back": f"/candidates?sign=brighter#c{numbers[1]}"},
    )
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/candidates?sign=brighter")
    assert listed(client, ada, "judged=bogus") == numbers[1:2]
    elsewhere = client.post(
        f"/candidates/{numbers[1]}/judge", headers=ada,
        data={"verdict": "", "back": "https://elsewhere.example"},
    )  # fmt: skip
    assert elsewhere.headers["location"] == "/candidates"
    assert client.post("/candidates/999/judge", headers=ada, data={}).status_code == 404


def test_what_is_measured_anew_counts_once(client, ada):
    database, store = client.services.database, client.services.store
    exposure = archive(database, store, 1)
    rows = reduce(database, store, exposure)
    before = measure(database, store, exposure, rows, names=NAMES)
    assert listed(client, ada) == before[1::-1]
    again = measure(database, store, exposure, rows, names=("FL26aac",), turn=2)
    assert listed(client, ada, "kept=false") == again


def test_home_and_the_object_show_them(client, ada, numbers):
    home = client.get("/", headers={**ada, **HTML}).text
    assert f"/candidates/{numbers[0]}/triplet.png" in home
    assert "What changed" in home
    page = client.get("/objects/FL26aab", headers={**ada, **HTML}).text
    assert f"/candidates/{numbers[1]}/triplet.png" in page
    assert f"/candidates/{numbers[0]}/triplet.png" not in page


def test_strangers_see_none_at_home(client, bob, numbers):
    assert "triplet.png" not in client.get("/", headers={**bob, **HTML}).text
