"""How often pages ask the database: no more often however many rows they show."""

import datetime as dt

import pytest
from archived import archive
from sqlalchemy import event
from test_pages_objects import HTML, POINTS, add_star, signed_in

from firstlight.services.analyses.analyses_start import RunWish
from firstlight.services.objects.classifications import NewClassification

HOME, OBJECT = 14, 32  # statements of SQLite, which needs none to set up a search


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def ada(client):
    return signed_in(client, "ada", roles=["Super admin"])


@pytest.fixture
def asked(client, database):
    """Statements and transactions of a page, the second time it is asked for."""

    def ask(address, headers):
        client.get(address, headers={**HTML, **headers})
        statements, begun = [], []

        def note_begin(connection):
            begun.append(connection)

        def note(connection, cursor, statement, *_):
            if not statement.startswith("BEGIN"):
                statements.append(statement)

        event.listen(database.engine, "before_cursor_execute", note)
        event.listen(database.engine, "begin", note_begin)
        try:
            answer = client.get(address, headers={**HTML, **headers})
        finally:
            event.remove(database.engine, "before_cursor_execute", note)
            event.remove(database.engine, "begin", note_begin)
        assert answer.status_code == 200
        return statements, len(begun), answer.text

    return ask


def nights(database, store, sites, count):
    """Exposures of two nights at each site."""
    for place, site in enumerate(sites):
        for number in range(count):
            night = dt.date(2022, 6, 28 + number % 2)
            minute = 1440 * (number % 2) + number + 100 * place
            archive(database, store, number, site=site, minute=minute, night=night)


def test_the_home_page_asks_no_more_for_many_sites(client, database, store, ada, asked):
    nights(database, store, ["tst"], 2)
    one, _, _ = asked("/", ada[1])
    nights(database, store, ["sro", "mrc", "eco", "aro", "old"], 12)
    many, transactions, text = asked("/", ada[1])
    assert all(f"/sites/{site}" in text for site in ("tst", "sro", "old"))
    assert len(many) == len(one) <= HOME, "\n".join(many)
    assert transactions <= 3


@pytest.fixture
def service(client, ada):
    body = {
        "name": "echo", "url": "https://fit.example/run", "authentication_type": "none",
        "analysis_type": "lightcurve_fitting", "input_data_types": ["photometry"],
        "group_ids": [1],
    }  # fmt: skip
    return client.services.analysis_services.create(ada[0], body)


@pytest.fixture
def describe(client, database, ada, service):
    """Makes an object with so many of everything, each by somebody else for another group."""
    taxonomy = client.services.taxonomies.for_classifying(ada[0])[0]["id"]

    def make(name, count):
        services = client.services
        add_star(database, name, POINTS[:count])
        for number in range(count):
            who, _ = signed_in(client, f"{name}{number}".lower(), roles=["Super admin"])
            group = services.groups.create(who, f"{name} {number}")
            shared = {"group_ids": [group]}
            said = NewClassification(name, "Supernova", taxonomy, vote=True, **shared)
            services.comments.add(who, "sources", name, f"said {number}", **shared)
            services.annotations.add(who, "sources", name, f"of {number}", {"x": 1}, **shared)
            services.classifications.add(who, [said])
            services.objects.post(who, {"id": name, **shared})
            services.analysis_starter.start(who, name, service, RunWish())

    return make


def test_the_page_of_an_object_asks_no_more_for_many_notes(describe, ada, asked):
    describe("FEW", 1)
    describe("MANY", 8)
    few, _, _ = asked("/objects/FEW", ada[1])
    many, transactions, text = asked("/objects/MANY", ada[1])
    assert all(f"said {number}" in text for number in range(8))
    assert len(many) == len(few) <= OBJECT, "\n".join(many)
    assert transactions <= 2
