from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import BadSettings, InvalidInput
from firstlight.storage.links import LinkSigner, UploadSigner
from firstlight.storage.store import LinkExpired, LinkForged

_SECRET = b"0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def _token(signer: LinkSigner, key: str = "a/b", method: str = "GET") -> str:
    return signer.link(key, timedelta(minutes=5), method).rpartition("/")[2]  # type: ignore[arg-type]  # parametrized


def test_a_link_opens_its_key_until_it_expires() -> None:
    clock = Clock()
    signer = LinkSigner(_SECRET, "https://portal.example/", clock=clock)
    link = signer.link("é/a b", timedelta(minutes=5), "GET")
    assert link.startswith("https://portal.example/files/")
    token = link.rpartition("/")[2]
    assert token.isascii()
    clock.now += timedelta(minutes=5) - timedelta(milliseconds=1)
    assert signer.verify(token) == "é/a b"
    clock.now += timedelta(milliseconds=1)
    with pytest.raises(LinkExpired) as caught:
        signer.verify(token)
    assert caught.value.subject == "é/a b"


@pytest.mark.parametrize(
    ("made_for", "asked", "opens"),
    [
        ("GET", "GET", True),
        ("GET", "HEAD", True),
        ("GET", "PUT", False),
        ("PUT", "GET", False),
        ("PUT", "PUT", True),
        ("HEAD", "GET", False),
    ],
)
def test_a_link_is_for_one_method(made_for: str, asked: str, opens: bool) -> None:
    signer = LinkSigner(_SECRET, "https://x")
    token = _token(signer, method=made_for)
    if opens:
        assert signer.verify(token, asked) == "a/b"  # type: ignore[arg-type]  # parametrized
        return
    with pytest.raises(LinkForged):
        signer.verify(token, asked)  # type: ignore[arg-type]  # parametrized


@given(position=st.integers(0, 400), character=st.sampled_from("Aa0-_.=é"))
def test_no_character_of_a_token_can_be_changed(position: int, character: str) -> None:
    signer = LinkSigner(_SECRET, "https://x")
    token = _token(signer)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed == token:
        assert signer.verify(changed) == "a/b"
        return
    with pytest.raises(LinkForged):
        signer.verify(changed)


@given(st.text(max_size=60))
def test_nonsense_is_no_token(token: str) -> None:
    with pytest.raises(LinkForged):
        LinkSigner(_SECRET, "https://x").verify(token)


def test_another_secret_opens_nothing() -> None:
    token = _token(LinkSigner(_SECRET, "https://x"))
    with pytest.raises(LinkForged):
        LinkSigner(b"fedcba9876543210", "https://x").verify(token)


def test_a_short_secret_is_refused_and_not_shown() -> None:
    with pytest.raises(BadSettings) as caught:
        LinkSigner(b"hunter2", "https://x")
    assert "hunter2" not in str(caught.value)


def _upload_token(signer: UploadSigner, max_size: int = 10) -> str:
    address = signer.address("a/b", max_size=max_size, expires=timedelta(minutes=5))
    return address.rpartition("/uploads/")[2]


def test_leave_to_upload_ends() -> None:
    clock = Clock()
    signer = UploadSigner(_SECRET, "https://x", clock=clock)
    token = _upload_token(signer)
    clock.now += timedelta(minutes=5) - timedelta(milliseconds=1)
    claim = signer.verify(token)
    assert (claim.key, claim.max_size) == ("a/b", 10)
    assert claim.until == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    clock.now += timedelta(milliseconds=1)
    with pytest.raises(LinkExpired):
        signer.verify(token)


def test_a_link_is_no_leave_to_upload_nor_the_other_way() -> None:
    links, uploads = LinkSigner(_SECRET, "https://x"), UploadSigner(_SECRET, "https://x")
    with pytest.raises(LinkForged):
        uploads.verify(_token(links, method="PUT"))
    with pytest.raises(LinkForged):
        links.verify(_upload_token(uploads), "PUT")


@given(st.text(max_size=60))
def test_nonsense_is_no_leave_to_upload(token: str) -> None:
    with pytest.raises(LinkForged):
        UploadSigner(_SECRET, "https://x").verify(token)


def test_leave_to_upload_nothing_is_not_given() -> None:
    with pytest.raises(InvalidInput, match="max_size"):
        _upload_token(UploadSigner(_SECRET, "https://x"), max_size=0)
