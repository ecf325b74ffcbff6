"""Administration and one's own profile: every form, and who may use it."""

import re

import pytest
from test_archive_pages import Elements

from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser
from firstlight.services.settings_summary import settings_summary

HTML = {"Accept": "text/html"}
LONG_WORDS = "a good long password"
PAGES = ("", "/users", "/groups", "/invitations", "/tokens", "/webhooks", "/expiry")


@pytest.fixture
def client(make_client):
    return make_client(public_sites=("tst",))


def text_of(client, url, headers, status=200):
    answer = client.get(url, headers={**HTML, **headers})
    assert answer.status_code == status, answer.text
    Elements(answer.text)
    return answer.text


def post(client, url, data, headers, status=303):
    answer = client.post(url, data=data, headers={**HTML, **headers})
    assert answer.status_code == status, answer.text
    return answer


@pytest.fixture
def admin(token):
    return token("admin")


@pytest.fixture
def maria(client):
    """A user, and the headers of a token of hers."""
    services = client.services
    number = services.users.create(operator(), NewUser("maria", password=LONG_WORDS))
    viewer = services.sign_in.identify_session(
        services.sign_in.sign_in("maria", LONG_WORDS, "203.0.113.5").secret
    )
    made = services.user_tokens.make(viewer, "hers", [])
    return number, {"Authorization": f"token {made.token}"}


def test_forms_say_how_long_a_password_has_to_be(client, admin, maria):
    made = post(
        client, "/admin/invitations", {"email": "bob@example.org", "role": "Full user"}, admin, 200
    )
    link = re.search(r"http://archive\.example(/join/[\w-]+)", made.text)[1]
    for text in (
        text_of(client, "/profile", maria[1]),
        text_of(client, "/admin/users", admin),
        text_of(client, link, {}),
    ):
        assert 'minlength="10"' in text
        assert "At least 10 characters" in text


@pytest.mark.parametrize("below", PAGES)
def test_administration_is_for_administrators(client, admin, maria, token, below):
    text_of(client, f"/admin{below}", admin)
    text_of(client, f"/admin{below}", {}, 401)
    text_of(client, f"/admin{below}", maria[1], 403)
    text_of(client, f"/admin{below}", token("read"), 403)


def test_an_account_is_made_changed_closed_and_opened_again(client, admin):
    form = {"username": "Juan", "password": LONG_WORDS, "email": "j@example.org"}
    post(client, "/admin/users", form, admin)
    number = client.services.users.number_of(operator(), "juan")
    assert "j@example.org" in text_of(client, "/admin/users", admin)
    roles = {"roles": ["View only", "Group admin"]}
    post(client, f"/admin/users/{number}/roles", roles, admin)
    assert client.services.users.one(operator(), number)["roles"] == ["Group admin", "View only"]
    post(client, f"/admin/users/{number}/roles", {"roles": ["View only"]}, admin)
    assert client.services.users.one(operator(), number)["roles"] == ["View only"]
    post(client, f"/admin/users/{number}/closed", {"closed": "true"}, admin)
    assert "juan" not in text_of(client, "/admin/users", admin)
    assert "Open it again" in text_of(client, "/admin/users?closed=true", admin)
    post(client, f"/admin/users/{number}/closed", {"closed": "false"}, admin)
    assert "juan" in text_of(client, "/admin/users", admin)


def test_a_group_with_members_and_sites(client, admin, maria):
    post(client, "/admin/groups", {"name": "Transits <i>"}, admin)
    [group] = client.services.groups.named(operator(), "Transits <i>")
    below = f"/admin/groups/{group['id']}"
    post(client, f"{below}/members", {"username": "maria", "admin": "true"}, admin)
    post(client, f"{below}/sites", {"site": "mrc"}, admin)
    text = text_of(client, "/admin/groups", admin)
    assert "Transits &lt;i&gt;" in text
    assert "/sites/mrc" in text
    number, hers = maria
    assert client.get("/sites/mrc", headers={**HTML, **hers}).status_code == 200
    post(client, f"{below}/sites/remove", {"site": "mrc"}, admin)
    assert client.get("/sites/mrc", headers={**HTML, **hers}).status_code == 403
    post(client, f"{below}/members/{number}/remove", {}, admin)
    post(client, f"{below}/remove", {}, admin)
    assert client.services.groups.named(operator(), "Transits <i>") == []


def test_who_asks_to_be_let_in_is_let_in(client, admin, maria):
    post(client, "/admin/groups", {"name": "Novae"}, admin)
    [group] = client.services.groups.named(operator(), "Novae")
    number, hers = maria
    assert "Ask to join" in text_of(client, "/profile", hers)
    post(client, f"/profile/groups/{group['id']}/ask", {}, hers)
    text = text_of(client, "/admin/groups", admin)
    request = re.search(r"/admin/admissions/(\d+)", text)[0]
    post(client, request, {"status": "accepted"}, admin)
    members = client.services.groups.one(operator(), group["id"])["users"]
    assert number in [user["id"] for user in members]


def test_an_invitation_is_a_link_that_works_once(client, admin):
    post(client, "/admin/groups", {"name": "Comets"}, admin)
    [group] = client.services.groups.named(operator(), "Comets")
    form = {"email": "ana@example.org", "groups": [str(group["id"])]}
    shown = post(client, "/admin/invitations", form, admin, 200).text
    link = re.search(r"http://archive\.example(/join/[\w-]+)", shown)[1]
    text = text_of(client, "/admin/invitations", admin)
    assert "ana@example.org" in text
    assert "Comets" in text
    assert link not in text, "it is shown once"
    assert client.get(link, headers=HTML).status_code == 200
    withdraw = re.search(r"/admin/invitations/\d+/withdraw", text)[0]
    post(client, withdraw, {}, admin)
    assert client.get(link, headers=HTML).status_code == 404


def test_a_token_is_shown_once_and_revoked(client, admin):
    form = {"name": "dome", "scopes": ["read", "upload"], "sites": "mrc, sro"}
    shown = post(client, "/admin/tokens", form, admin, 200).text
    token = re.search(r"fl_[\w-]{30,}", shown)[0]
    headers = {"Authorization": f"token {token}"}
    assert client.get("/sites/mrc", headers={**HTML, **headers}).status_code == 200
    assert client.get("/sites/eco", headers={**HTML, **headers}).status_code == 403
    assert token not in text_of(client, "/admin/tokens", admin)
    post(client, "/admin/tokens/revoke", {"name": "dome"}, admin)
    assert client.get("/sites/mrc", headers={**HTML, **headers}).status_code == 401


def test_webhooks_are_added_and_removed(client, admin):
    form = {"url": "https://portal.example.org/hook", "topics": "imagedata", "sites": ""}
    assert "signs the messages" in post(client, "/admin/webhooks", form, admin, 200).text
    text = text_of(client, "/admin/webhooks", admin)
    assert "https://portal.example.org/hook" in text
    remove = re.search(r"/admin/webhooks/[0-9a-f-]+/remove", text)[0]
    post(client, remove, {}, admin)
    assert "None yet" in text_of(client, "/admin/webhooks", admin)


def test_forms_are_not_for_those_who_may_not(client, maria, token):
    forms = {
        "/admin/users": {"username": "evil", "password": LONG_WORDS},
        "/admin/groups/1/sites": {"site": "mrc"},
        "/admin/invitations": {"email": "a@example.org"},
        "/admin/tokens": {"name": "mine", "scopes": ["admin"]},
        "/admin/tokens/revoke": {"name": "token 1"},
        "/admin/webhooks": {"url": "https://portal.example.org/hook"},
    }
    for url, form in forms.items():
        assert client.post(url, data=form, headers=HTML).status_code == 401, url
        for headers in (maria[1], token("read", "operate" if "webhooks" not in url else "watch")):
            answer = client.post(url, data=form, headers={**HTML, **headers})
            assert answer.status_code in (403, 404), (url, answer.text)


def test_ones_own_profile(client, maria):
    number, hers = maria
    post(client, "/profile", {"first_name": "María", "bio": "<script>"}, hers)
    text = text_of(client, "/profile", hers)
    assert "María" in text
    assert "&lt;script&gt;" in text
    assert client.services.users.one(operator(), number)["first_name"] == "María"
    differ = {"current": LONG_WORDS, "password": "another long one", "again": "something else"}
    post(client, "/profile/password", differ, hers, 400)
    text_of(client, "/profile", {}, 401)


def test_settings_are_told_without_what_is_secret():
    told = settings_summary(
        {
            "database": {"url": "postgresql://me:hidden@host/name"},
            "storage": {"secret_access_key": "hidden", "link_secret": None, "root": "data"},
            "sources": {"queues": [{"url": "https://u:hidden@q", "access_key_id": "hidden"}]},
            "web": {"port": 8000, "public_sites": ["tst"]},
        }
    )
    assert "hidden" not in str(told)
    assert told["storage"] == {
        "secret_access_key": "set, not shown", "link_secret": "not set", "root": "data"
    }  # fmt: skip
    assert told["web"] == {"port": "8000", "public_sites": "tst"}
    assert told["database"]["url"] == "postgresql://…@host/name"
