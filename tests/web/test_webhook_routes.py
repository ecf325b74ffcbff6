import json
import uuid

import pytest


@pytest.fixture
def hook(client, token):
    headers = token("watch", sites=["tst"])
    wish = {"url": "http://127.0.0.1:9/hook", "sites": ["tst"], "topics": ["imagedata"]}
    answer = client.post("/api/webhooks", json=wish, headers=headers)
    assert answer.status_code == 201, answer.text
    return headers, answer.json()["data"]


def test_a_webhook_is_added_listed_and_removed(client, hook):
    headers, facts = hook
    assert len(facts["secret"]) == 64
    (listed,) = client.get("/api/webhooks", headers=headers).json()["data"]
    assert listed == {name: value for name, value in facts.items() if name != "secret"}
    path = f"/api/webhooks/{facts['id']}"
    assert client.post(path + "/enable", headers=headers).json()["data"]["enabled"]
    assert client.delete(path, headers=headers).status_code == 200
    assert client.delete(path, headers=headers).status_code == 404
    assert client.get("/api/webhooks", headers=headers).json()["data"] == []


def test_a_trial_tells_what_is_wrong(client, hook):
    headers, facts = hook
    answer = client.post(f"/api/webhooks/{facts['id']}/ping", headers=headers)
    tried = answer.json()["data"]
    assert tried["outcome"] == "try_later", "nobody listens there"
    assert tried["error"]["code"] == "remote.unreachable"


def test_webhooks_are_their_owners(client, hook, token):
    _, facts = hook
    other, admin = token("watch"), token("admin")
    assert client.get("/api/webhooks", headers=other).json()["data"] == []
    assert len(client.get("/api/webhooks", headers=admin).json()["data"]) == 1
    path = f"/api/webhooks/{facts['id']}"
    for answer in (
        client.delete(path, headers=other),
        client.post(path + "/ping", headers=other),
        client.delete(f"/api/webhooks/{uuid.uuid4()}", headers=admin),
    ):
        assert (answer.status_code, answer.json()["data"]["code"]) == (404, "webhook.missing")


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"url": "http://169.254.169.254/latest/meta-data"}, 400, "remote.url_refused"),
        ({"url": "http://[::1]/"}, 400, "remote.url_refused"),
        ({"url": "file:///etc/passwd"}, 400, "remote.url_refused"),
        ({"url": "https://hooks.example/", "sites": ["sro"]}, 403, "access.forbidden"),
        ({"url": "https://hooks.example/", "topics": ["No Topic"]}, 400, "input.invalid"),
        ({"url": "https://hooks.example/", "more": 1}, 400, "input.invalid"),
    ],
)
def test_what_cannot_be_added(client, token, wish, status, code):
    headers = token("watch", sites=["tst"])
    answer = client.post("/api/webhooks", json=wish, headers=headers)
    assert (answer.status_code, answer.json()["data"]["code"]) == (status, code)
    assert json.loads(client.get("/api/webhooks", headers=headers).text)["data"] == []


def test_without_a_token_there_are_no_webhooks(make_client):
    client = make_client(public_sites="*")
    answer = client.post("/api/webhooks", json={"url": "https://hooks.example/"})
    assert answer.status_code == 401
