"""How a program shows another one who it is: basic, digest and OAuth 1 headers, as RFCs say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from firstlight.errors import RemoteError

__all__ = ["ChallengeRefused", "basic_header", "digest_header", "oauth1_header"]

# Lower case, as RFC 7616 compares them. MD5 is what old servers know.
_HASHES: dict[str, Callable[[bytes], Any]] = {
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "sha-256": hashlib.sha256,
}
_PART = re.compile(r'([0-9A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LONGEST_CHALLENGE = 8192


class ChallengeRefused(RemoteError):
    """The other system asks for an authentication that is not known here."""

    code = "remote.challenge_refused"


def basic_header(username: str, password: str) -> str:
    """The value of ``Authorization`` (RFC 7617), in UTF-8."""
    pair = f"{username}:{password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def digest_header(
    challenge: str,
    *,
    method: str,
    target: str,
    username: str,
    password: str,
    cnonce: str | None = None,
) -> str:
    """The value of ``Authorization`` that answers a challenge (RFC 7616).

    Parameters
    ----------
    challenge
        The header ``WWW-Authenticate``, which may hold those of other schemes too.
    target
        Path and query of the request.
    cnonce
        A number used once; None for a new one.

    Raises
    ------
    ChallengeRefused
        No digest is asked for, or none of MD5, SHA-256 and their ``-sess`` forms, or a
        protection of the whole body alone (``auth-int``).
    """
    asked = _digest_challenge(challenge)
    algorithm = asked.get("algorithm", "MD5")
    session = algorithm.lower().endswith("-sess")
    hashed = _HASHES[algorithm.lower().removesuffix("-sess")]
    cnonce = cnonce or secrets.token_hex(8)

    def of(*parts: str) -> str:
        text: str = hashed(":".join(parts).encode()).hexdigest()
        return text

    secret = of(username, asked["realm"], password)
    if session:
        secret = of(secret, asked["nonce"], cnonce)
    request = of(method, target)
    told = {
        "username": username,
        "realm": asked["realm"],
        "nonce": asked["nonce"],
        "uri": target,
    }
    bare = {"algorithm": algorithm}
    if "qop" in asked:
        bare |= {"qop": "auth", "nc": "00000001"}
        told["cnonce"] = cnonce
        told["response"] = of(secret, asked["nonce"], "00000001", cnonce, "auth", request)
    else:  # RFC 2069
        told["response"] = of(secret, asked["nonce"], request)
    if "opaque" in asked:
        told["opaque"] = asked["opaque"]
    quoted = [f'{name}="{_escaped(value)}"' for name, value in told.items()]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])


def oauth1_header(
    credentials: Mapping[str, str],
    *,
    method: str,
    url: str,
    timestamp: int,
    nonce: str | None = None,
) -> str:
    """The value of ``Authorization``, signed by HMAC-SHA1 (RFC 5849).

    The body is not part of it, since it is no form (section 3.4.1.3.1).

    Parameters
    ----------
    credentials
        ``client_key``, ``client_secret``, ``token`` and ``token_secret``; the last two may be
        empty.
    timestamp
        Seconds since 1970.
    """
    told = {
        "oauth_consumer_key": credentials["client_key"],
        "oauth_nonce": nonce or secrets.token_hex(16),
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(timestamp),
        "oauth_version": "1.0",
    }
    if credentials.get("token"):
        told["oauth_token"] = credentials["token"]
    text = _signature_base(method, url, told)
    key = "&".join(
        _encoded(credentials.get(part, "")) for part in ("client_secret", "token_secret")
    )
    seal = hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()
    told["oauth_signature"] = base64.b64encode(seal).decode("ascii")
    return "OAuth " + ", ".join(f'{name}="{_encoded(value)}"' for name, value in told.items())


def _digest_challenge(text: str) -> dict[str, str]:
    """The facts of the first digest challenge that can be answered."""
    found: list[str] = []
    # Each scheme begins where a word stands before the first "name=" of it.
    for part in re.split(
        r"(?:^|,)\s*(?=[0-9A-Za-z_-]+\s+[0-9A-Za-z_-]+\s*=)", text[:_LONGEST_CHALLENGE]
    ):
        scheme, _, facts = part.strip().partition(" ")
        if scheme.lower() != "digest":
            continue
        asked = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
            for name, quoted, bare in _PART.findall(facts)
        }
        kind = asked.get("algorithm", "MD5").lower().removesuffix("-sess")
        wanted = {each.strip() for each in asked.get("qop", "auth").split(",")}
        found.append(f"{kind}, {'/'.join(sorted(wanted))}")
        if kind in _HASHES and "auth" in wanted and {"realm", "nonce"} <= asked.keys():
            return asked
    raise ChallengeRefused(
        field="WWW-Authenticate",
        found="; ".join(found)[:200] or "no digest",
        expected="Digest with MD5 or SHA-256 and qop auth",
    )


def _signature_base(method: str, url: str, told: Mapping[str, str]) -> str:
    """Section 3.4.1.1."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.port is not None and parts.port != {"http": 80, "https": 443}.get(parts.scheme):
        host = f"{host}:{parts.port}"
    place = f"{parts.scheme.lower()}://{host}{parts.path or '/'}"
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *told.items()]
    sent = sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    listed = "&".join(f"{name}={value}" for name, value in sent)
    return "&".join((method.upper(), _encoded(place), _encoded(listed)))


def _encoded(text: str) -> str:
    """Section 3.6."""
    return quote(text, safe="-._~")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
