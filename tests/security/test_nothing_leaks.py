"""Every route, asked by those who may not know what a group keeps to itself."""

import re
import sqlite3
from contextlib import closing

import httpx
import pytest
from addresses import filled, routes, values_for
from secret_world import BASE, MARK, MARKS, OBJECT, OUTSIDERS, SITE

QUERIES = {
    "/search": {"q": OBJECT},
    "/api/sources": {"sourceID": "QVX"},
    "/api/source_exists": {"ra": 123.4, "dec": 45.6, "radius": 0.01},
    "/api/internal/image_analysis/defaults": {"object": OBJECT},
    "/api/objtag": {"obj_id": OBJECT},
    "/api/obj/analysis": {"objID": OBJECT},
    "/api/photometry/range": {"min_date": "2000-01-01T00:00:00"},
    "/photonranch/filtered_images": {"site": SITE},
    "/photonranch/recentuploads": {"site": SITE},
    "/api/exposures": {"site": SITE},
    "/exposures": {"site": SITE},
    "/api/sites/{site}/zip": {"begin": "2022-06-29", "end": "2022-06-30"},
}
HIDING = {
    "analysis_id",
    "annotation_id",
    "classification_id",
    "comment_id",
    "exposure_id",
    "image_id",
    "invitation_id",
    "key",
    "number",
    "photometry_id",
    "service_id",
    "spectrum_id",
    "taxonomy_id",
    "thumbnail_id",
    "upload_id",
}
"""Parameters whose values are numbers of something hidden."""


def all_routes(guarded, *, reading):
    for method, pattern in routes(guarded.portal.app):
        if (method == "GET") == reading:
            yield method, pattern


def pages_of(guarded):
    """Addresses of all that can be read, each with its query."""
    known = guarded.secrets.values
    for _, pattern in all_routes(guarded, reading=True):
        yield pattern, filled(pattern, known), QUERIES.get(pattern)
        if "{kind}" in pattern:
            for kind, number in (("spectra", "spectrum_id"), ("photometry", "photometry_id")):
                yield pattern, filled(pattern, known, kind=kind, which=known[number]), None


def unasked(url, query):
    """Marks that the request did not name itself, so that they cannot be an echo."""
    said = f"{url} {query or ''}"
    return [mark for mark in MARKS if mark not in said]


def test_every_route_has_values_for_its_parameters(guarded):
    patterns = list(routes(guarded.portal.app))
    assert len(patterns) > 200
    for _, pattern in patterns:
        assert "{" not in filled(pattern, guarded.secrets.values)


@pytest.mark.parametrize("who", OUTSIDERS, ids=str)
def test_nothing_that_can_be_read_tells_a_secret(guarded, who):
    told, faults = [], []
    with guarded.client(who) as client:
        for _, url, query in pages_of(guarded):
            answer = client.get(url, params=query)
            text = answer.text + str(answer.headers) + repr(answer.content)
            told += [(url, mark) for mark in unasked(url, query) if mark in text]
            if answer.status_code >= 500 and answer.status_code != 501:
                faults.append((url, answer.status_code, answer.text[:200]))
    assert told == []
    assert faults == []


def test_the_owner_reads_all_that(guarded):
    """Or the last test would pass because nothing is there."""
    seen = set()
    with guarded.client("owner") as client:
        for pattern, url, query in pages_of(guarded):
            answer = client.get(url, params=query)
            assert answer.status_code < 500 or answer.status_code == 501, (url, answer.text[:300])
            if answer.status_code < 400:
                seen |= {(pattern, mark) for mark in unasked(url, query) if mark in answer.text}
    patterns = {pattern for pattern, _ in seen}
    assert len(patterns) >= 35, sorted(patterns)
    for pattern in (
        "/api/sources",
        "/api/sources/{name}",
        "/api/{kind}/{which}/comments",
        "/api/{kind}/{which}/comments/{comment_id}/attachment",
        "/api/{kind}/{which}/annotations",
        "/api/sources/{name}/classifications",
        "/api/taxonomy/{taxonomy_id}",
        "/api/sources/{obj_id}/photometry",
        "/api/groups/{group_id}",
        "/api/analysis_service",
        "/api/analysis_service/{service_id}/default_analysis",
        "/api/obj/analysis",
        "/api/obj/analysis/{analysis_id:int}",
        "/api/obj/analysis/{analysis_id:int}/results",
        "/api/obj/{name}/analysis",
        "/api/image_uploads/{upload_id}",
        "/api/exposures/{which}",
        "/objects/{name}",
        "/objects",
        "/exposures/{which}",
        "/sites/{site}",
    ):
        assert pattern in patterns, pattern


@pytest.mark.parametrize("who", OUTSIDERS, ids=str)
def test_what_is_hidden_and_what_is_not_there_look_alike(guarded, who):
    """No answer may tell that a name or number exists."""
    known = guarded.secrets.values
    differ = []
    with guarded.client(who) as client:
        for _, pattern in all_routes(guarded, reading=True):
            absent = filled(pattern, known, **elsewhere(pattern, known))
            hidden = filled(pattern, known)
            if hidden == absent:
                continue
            first, second = client.get(hidden), client.get(absent)
            if shape(first, hidden) != shape(second, absent):
                differ.append(f"{hidden} {absent}: {first.status_code} {first.text} {second.text}")
    assert differ == []


def elsewhere(pattern, known):
    """Values that lead to nothing, for the parameters that name something hidden."""
    nothing = {OBJECT: "QVXNOTHIN", SITE: "qvxnone", BASE: BASE.replace("0000001", "9999999")}
    found = {}
    for name, value in values_for(pattern, known).items():
        if value in nothing or name in HIDING:
            digits = "987654" if value.isdigit() else "00000000-0000-4000-8000-000000000000"
            found[name] = nothing.get(value, digits)
    return found


def shape(answer, url):
    """What an answer says, without what the asker said."""
    text = answer.text
    for part in sorted(url.strip("/").split("/"), key=len, reverse=True):
        if len(part) > 3 and not part.isdigit():
            text = text.replace(part, "*")
    return answer.status_code, re.sub(r"csrf[^>]*>|\b\d+\b", "#", text)


@pytest.mark.parametrize("who", OUTSIDERS, ids=str)
def test_nothing_of_others_can_be_changed(guarded, who):
    before = rows(guarded)
    known, done = guarded.secrets.values, []
    with guarded.client(who) as client:
        for method, pattern in all_routes(guarded, reading=False):
            url = filled(pattern, known)
            for body in ({}, {"text": "x", "vote": 1, "group_ids": [1], "name": "x"}):
                answer = client.request(method, url, json=body)
                refused = 400 <= answer.status_code < 500 or answer.status_code == 501
                if not refused and ("{" in pattern or answer.status_code >= 500):
                    done.append((method, url, answer.status_code, answer.text[:200]))
                assert MARK not in answer.text or MARK in url, (method, url, answer.text[:200])
    after = rows(guarded)
    assert done == []
    for table, kept in before.items():
        assert kept <= after[table], (table, kept - after[table])


TABLES = (
    "objects", "saved_objects", "comments", "annotations", "classifications", "taxonomies",
    "photometry", "spectra", "thumbnails", "groups", "memberships", "group_sites", "users",
    "tokens", "instruments", "telescopes", "exposures", "exposure_files", "observations",
    "info_images", "arrivals", "uploaded_images", "image_analyses", "invitations", "webhooks",
)  # fmt: skip


def rows(guarded):
    """All rows that people and telescopes have made, table by table."""
    path = guarded.portal.factory.database.url.database
    with closing(sqlite3.connect(path)) as raw:
        names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
        present = [table for table in TABLES if table in names]
        assert len(present) >= len(TABLES) - 2, sorted(set(TABLES) - names)
        return {table: set(raw.execute(f"SELECT * FROM {table}")) for table in present}  # noqa: S608, our own names


@pytest.mark.parametrize("who", ["stranger", "reader", "owner"])
def test_events_of_others_are_not_told(guarded, who):
    told = b""
    address = f"{guarded.address}/api/events?after=0"
    headers = guarded.portal.headers(who)
    # The owner waits for what must come; others a while for what must not.
    silence = httpx.Timeout(60.0, read=60.0 if who == "owner" else 3.0)
    with httpx.Client(timeout=silence) as client:
        try:
            with client.stream("GET", address, headers=headers) as answer:
                assert answer.status_code == 200
                for piece in answer.iter_raw():
                    told += piece
                    if MARK.encode() in told and OBJECT.encode() in told:
                        break
        except httpx.ReadTimeout:
            pass
    assert (MARK.encode() in told) == (who == "owner")
    assert (OBJECT.encode() in told) == (who == "owner")


def test_nobody_listens_without_leave(guarded):
    with guarded.client(None) as client:
        assert client.get("/api/events").status_code == 401
