"""What people try: forged requests, paths that climb, scripts in files and names, large bodies,
guessed passwords."""

import base64
import logging
import re
import socket
from urllib.parse import urlsplit

import pytest
from addresses import filled, routes
from secret_world import OBJECT

from firstlight.web.auth import COOKIE, csrf_token_of
from portal_world import PASSWORD

# Whoever has the address has leave: nothing that a browser sends by itself counts there.
BY_ADDRESS = {
    "/api/uploads/{token}",
    "/api/webhook/obj_analysis/{token}",
    "/api/webhook/obj_analysis/{token}/progress",
    "/join/{token}",
}
"""What is shown there is in the address itself, and no cookie counts."""
SIGN_IN = "/sign-in"
FORMS = {"/objects/{name}/image_uploads", "/objects/{name}/image_analysis"}
VIEWER = "/exposures/{which}/viewer"
"""JS9 lays itself out by attributes of style."""
CLIMBING = (
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5cfirstlight.toml",
    "%2e%2e%2f%2e%2e%2ffirstlight.toml",
    "%2fetc%2fpasswd",
    "x%00.jpg",
    "%ff%fe",
    "%0d%0aSet-Cookie:%20a=b",
)
SCRIPT = "<script>alert('xss')</script>"
IMAGE = "\"'><img src=x onerror=alert('xss')>"


@pytest.fixture(scope="module")
def signed_in(guarded):
    """A browser in which the owner has signed in; its cookie and the number that pages send."""
    with guarded.client(None) as browser:
        answer = browser.post(SIGN_IN, data={"username": "owner", "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        cookie = browser.cookies[COOKIE]
        yield browser, csrf_token_of(cookie)


def changing(guarded):
    return [each for each in routes(guarded.portal.app) if each[0] != "GET"]


def empty(pattern):
    """A body that asks for nothing, of the kind that the address takes."""
    if pattern in FORMS:
        return {"files": {"file": ("a.fits", b"no image")}}
    return {"json": {}}


def refused(answer):
    """Because of where it came from; or because nobody has made what is there, for anyone."""
    forged = answer.status_code == 403 and "access.csrf" in answer.text
    return forged or answer.status_code == 501


def test_a_cookie_alone_changes_nothing(guarded, signed_in):
    browser, _ = signed_in
    let_in = []
    for method, pattern in changing(guarded):
        if pattern in BY_ADDRESS or pattern == SIGN_IN:
            continue
        url = filled(pattern, guarded.secrets.values)
        answer = browser.request(method, url, **empty(pattern))
        if not refused(answer):
            let_in.append((method, pattern, answer.status_code, answer.text[:200]))
    assert let_in == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_changes_nothing_even_with_the_number(guarded, signed_in, headers):
    browser, csrf = signed_in
    let_in = []
    for method, pattern in changing(guarded):
        if pattern in BY_ADDRESS - {"/join/{token}"}:
            continue
        url = filled(pattern, guarded.secrets.values)
        said = {"X-CSRF-Token": csrf, **headers}
        answer = browser.request(method, url, headers=said, **empty(pattern))
        if not refused(answer):
            let_in.append((method, pattern, answer.status_code, answer.text[:200]))
    assert let_in == []


def test_a_page_of_ours_changes_what_it_shows(guarded, signed_in):
    browser, csrf = signed_in
    origin = {"Origin": guarded.address, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": csrf}
    path = f"/api/sources/{OBJECT}/comments"
    assert browser.post(path, json={"text": "by hand"}, headers=origin).status_code < 300
    other = {**origin, "X-CSRF-Token": csrf_token_of("another session")}
    assert browser.post(path, json={"text": "x"}, headers=other).status_code == 403


def test_the_cookie_is_for_this_server_and_not_for_scripts(guarded):
    with guarded.client(None) as browser:
        answer = browser.post(SIGN_IN, data={"username": "owner", "password": PASSWORD})
    flags = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
    assert "httponly" in flags
    assert flags & {"samesite=lax", "samesite=strict"}
    assert "path=/" in flags


def test_the_next_page_is_one_of_ours(guarded):
    for place in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"):
        with guarded.client(None) as browser:
            answer = browser.post(
                SIGN_IN, data={"username": "owner", "password": PASSWORD, "next": place}
            )
        assert answer.headers["Location"] == "/"


def test_no_address_climbs_out_of_what_is_served(guarded):
    known, bad = guarded.secrets.values, []
    with guarded.client("root") as client:
        for method, pattern in routes(guarded.portal.app):
            if method != "GET":
                continue
            for name in re.findall(r"\{([^}:]+)", pattern):
                for text in CLIMBING:
                    answer = client.get(filled(pattern, known, **{name: text}))
                    leaked = b"root:" in answer.content or b"attempts_per_" in answer.content
                    if leaked or (answer.status_code >= 500 and answer.status_code != 501):
                        bad.append((pattern, text, answer.status_code, answer.text[:150]))
                    assert "a" not in answer.cookies
    assert bad == []


@pytest.mark.parametrize("path", ["/static/../config.py", "/static/%2e%2e/%2e%2e/config.py"])
def test_static_files_are_those_of_the_pages(guarded, path):
    where = urlsplit(guarded.address)
    with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    assert b" 404 " in answer.splitlines()[0]
    assert b"FIRSTLIGHT_" not in answer


@pytest.fixture(scope="module")
def scripted(guarded):
    """Text of people that would run if a page took it for its own."""
    with guarded.client("owner") as owner:
        body = base64.b64encode(f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>".encode())
        comments = []
        for name in ("a.html", "a.svg", "a.xhtml", f"{IMAGE}.svg"):
            attachment = {"name": name, "body": body.decode()}
            said = {"text": f"{SCRIPT}{IMAGE}{name}", "attachment": attachment}
            made = owner.post(f"/api/sources/{OBJECT}/comments", json=said)
            assert made.status_code < 300, made.text
            comments.append(made.json()["data"]["comment_id"])
        for origin in (SCRIPT, IMAGE):
            owner.post(
                f"/api/sources/{OBJECT}/annotations",
                json={"origin": origin, "data": {IMAGE: origin}},
            )
        owner.patch(f"/api/sources/{OBJECT}", json={"summary": SCRIPT + IMAGE})
        owner.patch("/api/internal/profile", json={"first_name": SCRIPT, "bio": "x" * 20 + SCRIPT})
    return comments


def test_files_of_people_are_saved_and_never_shown(guarded, scripted):
    with guarded.client("owner") as owner:
        for number in scripted:
            for query in ("", "?preview=true", "?download=false&preview=true"):
                path = f"/api/sources/{OBJECT}/comments/{number}/attachment{query}"
                headers = owner.get(path).headers
                assert headers["Content-Type"].split(";")[0] in {
                    "application/octet-stream",
                    "application/json",
                }
                if headers["Content-Type"] == "application/octet-stream":
                    assert headers["Content-Disposition"].startswith("attachment")
                assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("kind", [SCRIPT, "<svg onload=alert(1)>", "<html>"])
def test_a_thumbnail_is_a_picture(guarded, kind):
    data = base64.b64encode(kind.encode()).decode()
    body = {"obj_id": OBJECT, "data": data, "ttype": "new"}
    with guarded.client("owner") as owner:
        assert owner.post("/api/thumbnail", json=body).status_code == 400


def test_no_page_runs_what_people_write(guarded, scripted):
    raw = [("<script>alert(", SCRIPT), ("<img src=x", IMAGE)]
    pages = 0
    with guarded.client("owner") as owner:
        for method, pattern in routes(guarded.portal.app):
            if method != "GET":
                continue
            answer = owner.get(filled(pattern, guarded.secrets.values))
            if answer.headers.get("Content-Type", "").startswith(("text/html", "image/svg")):
                pages += 1
                assert [piece for piece, _ in raw if piece in answer.text] == [], pattern
                assert not re.search(r"<[^>]+\son[a-z]+=", answer.text), pattern
                assert "javascript:" not in answer.text, pattern
    assert pages >= 12


def test_every_answer_keeps_browsers_in_bounds(guarded):
    with guarded.client("owner") as owner:
        for method, pattern in routes(guarded.portal.app):
            if method != "GET":
                continue
            headers = owner.get(filled(pattern, guarded.secrets.values)).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy or "sandbox" in policy, pattern
            scripts = policy.partition("script-src")[2].partition(";")[0]
            assert "'unsafe-" not in scripts.replace("'wasm-unsafe-eval'", ""), pattern
            if pattern != VIEWER and "sandbox" not in policy:
                assert "unsafe" not in policy, pattern
            assert headers["X-Content-Type-Options"] == "nosniff", pattern
            assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}, pattern
            assert "Server" not in headers, pattern
            shared = headers["Cache-Control"]
            assert "public" not in shared or pattern.startswith("/static"), pattern


def test_bodies_that_are_announced_too_large_are_refused_at_once(guarded):
    where = urlsplit(guarded.address)
    answered = {}
    for method, pattern in changing(guarded):
        url = filled(pattern, guarded.secrets.values).replace(" ", "%20")
        with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
            raw.sendall(
                f"{method} {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n".encode()
            )
            answered[method, pattern] = raw.recv(100).split(b"\r\n")[0]
    assert {key: line for key, line in answered.items() if b" 413 " not in line} == {}


def test_passwords_cannot_be_guessed_fast(guarded):
    statuses = []
    with guarded.client(None) as client:
        for number in range(8):
            form = {"username": "Reader", "password": f"guess {number}"}
            answer = client.post(SIGN_IN, data=form, headers={"Accept": "text/html"})
            statuses.append(answer.status_code)
        right = client.post(SIGN_IN, data={"username": "reader", "password": PASSWORD})
    assert statuses[-1] == 429
    assert 429 not in statuses[:4]
    assert right.status_code == 429, "or the right guess would show"


def test_an_unknown_name_and_a_wrong_password_look_alike(guarded):
    with guarded.client(None) as client:
        answers = [
            client.post(SIGN_IN, data={"username": name, "password": "wrong wrong wrong"})
            for name in ("stranger", "nobodyyy")
        ]
    texts = [re.sub(r"stranger|nobodyyy", "*", answer.text) for answer in answers]
    assert answers[0].status_code == answers[1].status_code
    assert texts[0] == texts[1]


def test_the_log_holds_no_secrets(guarded, caplog):
    secrets = [PASSWORD, *guarded.portal.tokens.values(), guarded.secrets.values["token"]]
    with caplog.at_level(logging.DEBUG), guarded.client(None) as browser:
        browser.post(SIGN_IN, data={"username": "owner", "password": PASSWORD})
        secrets.append(browser.cookies[COOKIE])
        secrets.append(csrf_token_of(browser.cookies[COOKIE]))
        for name in ("owner", "root"):
            headers = guarded.portal.headers(name)
            token = guarded.portal.tokens[name]
            browser.get("/api/me", headers=headers)
            browser.get(f"/api/me?token={token}")
            browser.get(f"/api/internal/tokens/{token}", headers=headers)
            browser.get(f"/join/{token}")
            browser.get(f"/api/files/{token}")
            browser.get(f"/nowhere/{token}")
            browser.post("/api/photometry", content=token, headers=headers)
            browser.post("/api/user", json={"username": "x", "password": PASSWORD}, headers=headers)
    ours = [r for r in caplog.records if r.name.startswith(("firstlight", "uvicorn", "sqlalchemy"))]
    text = "\n".join(record.getMessage() + (record.exc_text or "") for record in ours)
    assert len(ours) >= 15
    assert [secret for secret in secrets if secret in text] == []
