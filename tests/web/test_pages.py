"""Home, exposures, jobs, provenance, observations: what they show, and to whom."""

import datetime as dt
import re
import uuid

import page_services
import pytest
from archived import archive
from measured import measure
from reduced import ERROR, NX, NY, reduce
from test_archive_pages import Elements

from firstlight.models.data_root import configure_data_roots
from firstlight.models.event import Event
from firstlight.models.observation import Observation

HTML = {"Accept": "text/html"}
ALL = ("header_text", "fits_large", "jpg_medium", "thumbnail")


@pytest.fixture
def client(make_client):
    return make_client(public_sites=("tst",))


@pytest.fixture(autouse=True)
def _data_roots(tmp_path):
    configure_data_roots(tmp_path / "data")
    yield
    configure_data_roots()


@pytest.fixture(autouse=True)
def _broken():
    page_services.BROKEN["reduce_section"] = True


def page(client, url, status=200, **headers):
    answer = client.get(url, headers={**HTML, **headers})
    assert answer.status_code == status, answer.text
    return answer.text, Elements(answer.text)


def test_the_home_of_an_empty_archive_says_which_commands_to_type(client, token):
    text, _ = page(client, "/", **token("operate"))
    for command in ("watch /data/incoming", "ingest /data/night", "simulate-site"):
        assert command in text
    assert "firstlight" in page(client, "/")[0]
    assert "ingest /data/night" not in page(client, "/")[0], "a reader has no workspace to type in"


def test_only_whole_pages_ask_how_far_events_went(client, token, monkeypatch):
    asked = []
    stream = client.app.state.services.event_stream
    monkeypatch.setattr(stream, "last_number", lambda: asked.append(1) or 4711)
    assert 'data-after="4711"' in page(client, "/", **token("read"))[0]
    assert asked == [1]
    signed_in = token("read")
    for script in ({}, {"Accept": "*/*", "HX-Request": "true"}, {"Accept": "application/json"}):
        answer = client.get("/", headers={**signed_in, **script})
        assert answer.status_code == 200
        assert "data-after" not in answer.text
    client.post("/sign-in", headers=HTML)
    assert asked == [1]


def test_home_tells_of_nights_and_failures_of_sites_that_one_may_read(client, database, store):
    seen = archive(database, store, 1, roles=ALL, reduction_state="done")
    archive(database, store, 2, minute=2, roles=ALL)
    hidden = archive(database, store, 3, site="mrc", roles=ALL)
    reduce(database, store, seen, failed="solve_photometry")
    reduce(database, store, hidden, failed="solve_photometry")
    text, elements = page(client, "/")
    assert f"/exposures/{seen.id}" in elements.links
    assert "/exposures?site=tst&night=2022-06-29" in elements.links
    assert "2 exposures · 1 done" in text
    assert "no zero point: 2 usable reference &lt;stars&gt;" in text
    assert "mrc" not in text
    assert str(hidden.id) not in text
    assert "/secret/place" not in text


def test_exposures_are_found_by_what_stands_in_the_form(client, database, store):
    rows = [
        archive(database, store, n, minute=n, roles=ALL, filter=name)
        for n, name in ((1, "rp"), (2, "gp"), (3, "rp"))
    ]
    archive(database, store, 4, site="mrc", filter="rp")
    for view in ("cards", "table", "map"):
        _, elements = page(client, f"/exposures?filter=rp&site=&exp_time_min=&view={view}")
        found = {link for link in elements.links if re.fullmatch(r"/exposures/[0-9a-f-]{36}", link)}
        assert found == {f"/exposures/{rows[0].id}", f"/exposures/{rows[2].id}"}
        export = next(link for link in elements.links if "format=csv" in link)
        assert client.get(export).text.count("\n") == 3
    text, _ = page(client, "/exposures?filter=none")
    assert "Nothing fits" in text


def test_the_search_of_the_head_finds_names_that_begin_so(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    assert f"/exposures/{row.id}" in page(client, "/exposures?q=tst-kb001ms")[1].links
    assert f"/exposures/{row.id}" not in page(client, "/exposures?q=other")[1].links


def test_a_wrong_condition_is_told_in_the_form(client):
    text, _ = page(client, "/exposures?cone=here&site=tst", 400)
    assert "cone" in text
    assert "right ascension, declination, radius in degrees" in text
    assert 'value="tst"' in text, "what else was given stays"
    text, _ = page(client, "/exposures?filte=rp", 400)
    assert "did you mean filter?" in text


def test_pages_of_a_search_do_not_lose_or_repeat(client, database, store):
    rows = [archive(database, store, n, minute=n) for n in range(1, 66)]
    _, first = page(client, "/exposures?site=tst")
    after = next(link for link in first.links if "cursor=" in link)
    archive(database, store, 99, minute=99)
    _, second = page(client, after)
    on = [
        {link for link in each.links if re.fullmatch(r"/exposures/[0-9a-f-]{36}", link)}
        for each in (first, second)
    ]
    assert len(on[0]) == 60
    assert len(on[1]) == 5
    assert on[0] | on[1] == {f"/exposures/{row.id}" for row in rows}


def test_a_zip_is_offered_for_one_site_and_a_period(client, database, store):
    archive(database, store, 1, roles=ALL)
    period = "start=2022-06-29T12:00&end=2022-06-30T12:00"
    _, elements = page(client, f"/exposures?site=tst&{period}")
    packed = next(link for link in elements.links if "/zip?" in link)
    assert client.get(packed).headers["Content-Type"] == "application/zip"
    assert not [link for link in page(client, f"/exposures?{period}")[1].links if "/zip?" in link]


def test_an_exposure_shows_what_was_made_of_it(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    rows = reduce(database, store, row)
    text, elements = page(client, f"/exposures/{row.id}")
    assert f'<svg viewBox="0 0 {NX} {NY}"' in text
    # The first row is at the bottom of the picture; the source at (20, 10) is 4000 electrons.
    assert f'cx="20.5" cy="{NY - 0.5 - 10}"' in text
    assert 'data-m="15.49"' in text
    assert "3.00″" not in text, "the seeing is in arcseconds of the solution, 60 a pixel"
    assert "180.00″" in text
    assert "24.500 ± 0.010 r (AB)" in text
    for product in rows.values():
        assert f"/provenance/{product.id}" in elements.links
    picture = f"/images/{rows['preprocess'].id}/preview-1024.jpg"
    assert picture in elements.pictures
    answer = client.get(picture)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8")


def test_the_image_and_its_difference_are_told_apart(client, database, store):
    for number in range(1, 7):  # their ids are drawn: none may depend on which comes first
        row = archive(database, store, number, roles=ALL)
        rows = reduce(database, store, row)
        image = f"/images/{rows['preprocess'].id}/"
        measure(database, store, row, rows, names=(f"FL26aa{number}", None))
        text, elements = page(client, f"/exposures/{row.id}")
        assert f"{image}preview-1024.jpg" in elements.pictures
        assert f"{image}image.fits" in elements.links
        assert "score width: 1.005<" in text

        told, shown = page(client, f"/exposures/{row.id}?section=0&picture=difference")
        [picture] = [each for each in shown.pictures if each.endswith("preview-1024.jpg")]
        assert not picture.startswith(image)
        assert client.get(picture).status_code == 200
        assert f"{picture.rsplit('/', 1)[0]}/image.fits" in elements.links
        assert "1 change is kept." in told
        assert f'cx="20.5" cy="{NY - 0.5 - 10}"' in told
        assert f"/candidates?exposure={row.label}" in shown.links


def test_one_of_several_sections_is_chosen(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    first = reduce(database, store, row, section="A")["preprocess"]
    other = reduce(database, store, row, section="B")["preprocess"]
    assert str(first.id) in page(client, f"/exposures/{row.id}")[1].pictures[0]
    assert str(other.id) in page(client, f"/exposures/{row.id}?section=B")[1].pictures[0]


def test_why_a_step_failed_and_a_button_for_operators(client, database, store, token):
    row = archive(database, store, 1, roles=ALL)
    reduce(database, store, row, failed="solve_photometry")
    text, _ = page(client, f"/exposures/{row.id}")
    assert "no zero point: 2 usable reference &lt;stars&gt;" in text
    assert ERROR["expected"] in text
    assert ERROR["traceback"] not in text
    assert ERROR["subject"] not in text
    assert "Try failed steps again" not in text
    operator = token("operate", sites=["tst"])
    assert "Try failed steps again" in page(client, f"/exposures/{row.id}", **operator)[0]
    url = f"/exposures/{row.id}/retry"
    assert client.post(url, headers=HTML).status_code == 401
    assert client.post(url, headers={**HTML, **token("read")}).status_code == 403
    answer = client.post(url, headers={**HTML, **operator})
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/exposures/{row.id}#steps"
    assert list(client.services.engine.outcomes()) == [f"retry-{row.id}"]
    with database.reading() as session:
        assert [event.topic for event in session.query(Event)] == ["job"]
    client.services.reduction_plan.failed = False
    assert client.post(url, headers={**HTML, **operator}).status_code == 409


def test_nothing_of_an_exposure_is_for_strangers(client, database, store, token):
    row = archive(database, store, 1, site="mrc", roles=ALL)
    rows = reduce(database, store, row)
    image = rows["preprocess"].id
    urls = [
        f"/exposures/{row.id}", f"/exposures/{row.id}/viewer", f"/images/{image}/image.fits",
        f"/images/{image}/preview-256.jpg", f"/exposures/{row.id}/preview-256.jpg",
        *(f"/provenance/{product.id}" for product in rows.values()),
    ]  # fmt: skip
    mrc, stranger = token("read", sites=["mrc"]), token("read", sites=["sro"])
    for url in urls:
        assert client.get(url, headers=HTML).status_code == 404, url
        assert client.get(url, headers={**HTML, **stranger}).status_code == 404, url
        if "/preview-256" not in url or "images" in url:
            assert client.get(url, headers={**HTML, **mrc}).status_code == 200, url
    operator = token("operate", sites=["tst"])
    retry = client.post(f"/exposures/{row.id}/retry", headers={**HTML, **operator})
    assert retry.status_code == 404


def test_a_picture_is_made_where_none_came(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    made = reduce(database, store, row)["preprocess"]
    with store.open(made.filename) as stream:
        content = stream.read()
    bare = archive(database, store, 2, roles=("fits_small",), contents={"fits_small": content})
    picture = next(p for p in page(client, "/exposures")[1].pictures if str(bare.id) in p)
    answer = client.get(picture)
    assert answer.status_code == 200
    assert answer.content.startswith(b"\xff\xd8")
    assert client.get(f"/exposures/{bare.id}/preview-512.jpg").status_code in (400, 404, 422)


def test_the_viewer_may_do_what_it_needs_and_no_other_page(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    reduce(database, store, row)
    answer = client.get(f"/exposures/{row.id}/viewer", headers=HTML)
    policy = answer.headers["Content-Security-Policy"]
    assert "'wasm-unsafe-eval'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy, "no inline scripts there either"
    assert "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")
    plain = client.get(f"/exposures/{row.id}", headers=HTML).headers["Content-Security-Policy"]
    assert "unsafe" not in plain


def test_the_provenance_of_a_product_and_of_its_parameters(client, database, store):
    row = archive(database, store, 1, roles=ALL)
    rows = reduce(database, store, row)
    zero = rows["solve_photometry"]
    text, elements = page(client, f"/provenance/{zero.id}")
    assert "deep.er" in text
    assert "1, 2" in text
    assert f"/exposures/{row.id}" in elements.links
    assert f"/provenance/{zero.provenance_id}" in elements.links
    text, elements = page(client, f"/provenance/{zero.provenance_id}")
    upstream = rows["solve_astrometry"].provenance_id
    assert f"/provenance/{upstream}" in elements.links
    assert re.search(r"<dt>Products</dt><dd[^>]*>1</dd>", text)
    for nothing in (uuid.uuid4(), "no-such", "x" * 60, "%00"):
        assert client.get(f"/provenance/{nothing}", headers=HTML).status_code == 404


def test_jobs_of_exposures_that_one_may_see(client, database, store, token):
    mine = archive(database, store, 1, roles=ALL)
    other = archive(database, store, 2, site="mrc", roles=ALL)
    services = client.services
    requests = [
        request
        for row in (mine, other)
        for request in services.reduction_plan.plan(True, only=[row.id])
    ]
    services.engine.submit(requests)
    services.engine.wait([request.job_id for request in requests])
    text, elements = page(client, "/jobs")
    assert f"/exposures/{mine.id}" in elements.links
    assert f"/exposures/{other.id}" not in elements.links
    assert "Once more" not in text
    text, elements = page(client, "/jobs?state=failed", **token("operate"))
    assert f"/exposures/{other.id}" in elements.links
    assert f"no reduction of {mine.id}" in text
    assert "Once more" in text
    assert "No running jobs" in page(client, "/jobs?state=running")[0]
    assert client.get("/jobs?state=strange", headers=HTML).status_code == 400


def test_a_job_is_done_once_more(client, database, store, token):
    row = archive(database, store, 1, roles=ALL)
    services = client.services
    [request] = services.reduction_plan.plan(True, only=[row.id])
    services.engine.submit([request])
    services.engine.wait([request.job_id])
    form = {"job": request.job_id, "state": "failed"}
    reader = {**HTML, **token("read")}
    assert client.post("/jobs/retry", data=form, headers=reader).status_code == 403
    operator = {**HTML, **token("operate")}
    answer = client.post("/jobs/retry", data=form, headers=operator)
    assert answer.headers["Location"] == "/jobs?state=failed"
    page_services.BROKEN["reduce_section"] = False
    outcome = services.engine.wait([request.job_id])[request.job_id]
    assert outcome.state == "done"
    assert client.post("/jobs/retry", data=form, headers=operator).status_code == 409
    nothing = client.post("/jobs/retry", data={"job": "none"}, headers=operator)
    assert nothing.status_code == 404


@pytest.fixture
def observation(database):
    row = Observation(
        instrument="GenericFITS", target="M 101 <b>", filter="rp", site="tst",
        night=dt.date(2022, 6, 29), sequence="tst_kb001ms_20220630T041500",
    )  # fmt: skip
    row.identify()
    with database.begin() as session:
        session.add(row)
    return row


def test_observations_and_totals_of_weeks(client, database, store, observation):
    for n in (1, 2):
        archive(database, store, n, minute=n, roles=ALL, observation_id=observation.id)
    text, elements = page(client, "/observations")
    assert f"/observations/{observation.sequence}" in elements.links
    assert "2022, week 26" in text
    assert "1 observation, 2 images, 2 min" in text
    assert "No observation fits" in page(client, "/observations?unit=nobody")[0]
    assert "radius" in page(client, "/observations?ra=10", 400)[0]


def test_an_observation_with_its_images(client, database, store, observation):
    rows = [
        archive(database, store, n, minute=n, roles=ALL, observation_id=observation.id)
        for n in (1, 2)
    ]
    text, elements = page(client, f"/observations/{observation.sequence}")
    assert "M 101 &lt;b&gt;" in text
    for row in rows:
        assert f"/exposures/{row.id}" in elements.links
    for link in [link for link in elements.links if "/files/" in link or "files.txt" in link]:
        assert client.get(link).status_code == 200, link
    assert client.get("/observations/none", headers=HTML).status_code == 404


def test_a_foreign_observation_is_missing(make_client, database, store, observation):
    archive(database, store, 1, roles=ALL, observation_id=observation.id)
    client = make_client(public_sites=("sro",))
    assert client.get(f"/observations/{observation.id}", headers=HTML).status_code == 404
    assert observation.sequence not in page(client, "/observations")[0]
