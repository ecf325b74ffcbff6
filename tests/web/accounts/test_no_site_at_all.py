"""Whoever has an account and no site to read finds nothing, and is not turned away."""

import pytest
from archived import archive

from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser


@pytest.fixture
def ada(client):
    """What the token of an account sends; the account is in no group of a site."""
    user = client.services.users.create(operator(), NewUser("ada"))
    made = client.services.user_tokens.make(operator(), "x", ["upload"], user_id=user)
    return {"Authorization": f"token {made.token}"}


def test_lists_are_empty(client, ada, database, store):
    row = archive(database, store, 1)
    for path in ("/api/exposures", "/api/observations", "/api/uploads"):
        answer = client.get(path, headers=ada)
        assert answer.status_code == 200, answer.text
        assert row.base_filename not in answer.text
    for path in ("/", "/exposures", "/observations", "/sites"):
        answer = client.get(path, headers={**ada, "Accept": "text/html"})
        assert answer.status_code == 200, (path, answer.text)
        assert row.base_filename not in answer.text
    assert client.get(f"/api/exposures/{row.id}", headers=ada).status_code == 404
    assert client.get(f"/api/exposures/{row.id}/header", headers=ada).status_code == 404


def test_a_group_opens_a_site(client, ada, database, store):
    row = archive(database, store, 1)
    services = client.services
    group = services.groups.create(operator(), "readers")
    services.groups.add_site(operator(), group, "tst")
    services.groups.add_member(operator(), group, services.users.number_of(operator(), "ada"))
    assert row.base_filename in client.get("/api/exposures", headers=ada).text
    assert client.get(f"/api/exposures/{row.id}", headers=ada).status_code == 200


def test_who_may_upload_data_does_not_fill_the_archive(client, ada):
    wish = {"object_name": "tst-kb001ms-20220629-00000001-EX00.fits.fz"}
    answer = client.post("/api/uploads", json=wish, headers=ada)
    assert answer.status_code == 403, answer.text
    assert client.post("/api/arrivals/s3", json={"Records": []}, headers=ada).status_code == 403
