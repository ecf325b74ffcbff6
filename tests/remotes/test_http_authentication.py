"""Headers of authentication, against the examples of the RFCs."""

import re

import pytest

from firstlight.remotes.http_authentication import (
    ChallengeRefused,
    basic_header,
    digest_header,
    oauth1_header,
)

# RFC 7616, section 3.9.1.
CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
MUFASA = {
    "method": "GET",
    "target": "/dir/index.html",
    "username": "Mufasa",
    "password": "Circle of Life",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
}


def parts(header):
    return dict(re.findall(r'(\w+)="?([^",]*)"?', header.removeprefix("Digest ")))


def test_basic_is_the_example_of_rfc_7617():
    assert basic_header("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic_header("test", "123£") == "Basic dGVzdDoxMjPCow=="


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_is_the_example_of_rfc_7616(algorithm, response):
    told = parts(digest_header(CHALLENGE.format(algorithm), **MUFASA))
    assert told["response"] == response
    assert told["nc"] == "00000001"
    assert told["qop"] == "auth"
    assert told["uri"] == "/dir/index.html"
    assert told["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_digest_without_qop_is_the_example_of_rfc_2069():
    told = parts(
        digest_header(
            'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"',
            method="GET",
            target="/dir/index.html",
            username="Mufasa",
            password="CircleOfLife",  # noqa: S106, of the RFC's example, corrected by its erratum
        )
    )
    assert told["response"] == "1949323746fe6a43ef61f9606e7febea"
    assert "qop" not in told


def test_digest_is_found_among_other_challenges_and_unknown_algorithms():
    several = (
        'Basic realm="a, b", Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth", '
        'Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth"'
    )
    assert parts(digest_header(several, **MUFASA))["nonce"] == "n2"


@pytest.mark.parametrize(
    "challenge",
    ["", "Basic realm=x", "Digest", 'Digest realm="r"',
     'Digest realm="r", nonce="n", qop="auth-int"',
     "Digest " + "a=b, " * 5000],
)  # fmt: skip
def test_a_challenge_that_cannot_be_answered_is_a_fault(challenge):
    with pytest.raises(ChallengeRefused):
        digest_header(challenge, **MUFASA)


def test_oauth_signs_as_the_standard_says():
    """The expected value is what oauthlib, another implementation of RFC 5849, signs."""
    header = oauth1_header(
        {
            "client_key": "xvz1evFS4wEEPTGEFHBog",
            "client_secret": "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            "token": "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            "token_secret": "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        },
        method="post",
        url=(
            "https://API.twitter.com:443/1.1/statuses/update.json?include_entities=true"
            "&status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21"
        ),
        timestamp=1318622958,
        nonce="kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
    )
    assert 'oauth_signature="oVGPy97yskGMVtQchC2X9b17CzA%3D"' in header


def test_oauth_without_a_token_leaves_it_out():
    pair = {"client_key": "k", "client_secret": "s"}
    header = oauth1_header(pair, method="GET", url="http://a.b", timestamp=5)
    assert "oauth_token" not in header
    assert header != oauth1_header(pair, method="GET", url="http://a.b", timestamp=5)  # its nonce
