import datetime as dt
import ipaddress
import socket
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_servers import drips, http_answer, sends, serving
from pydantic import ValidationError

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.remotes.guarded_http import (
    AnswerInvalid,
    AnswerTooLarge,
    CallTimedOut,
    GuardedClient,
    HostUnreachable,
    TlsFailed,
    UrlRefused,
)
from firstlight.remotes.settings import OutgoingSettings

HERE = "127.0.0.1"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def client(resolver=None, **settings):
    settings.setdefault("allow", ("127.0.0.1/32",))
    settings.setdefault("timeout_s", 5)
    names = {"resolver": resolver} if resolver else {}
    return GuardedClient(OutgoingSettings(**settings), **names)


def names(*addresses):
    """A resolver that gives each look-up the next of these addresses, and counts."""

    def resolve(host, port):
        address = addresses[min(len(resolve.asked), len(addresses) - 1)]
        resolve.asked.append(host)
        return [(socket.AF_INET, (address, port))]

    resolve.asked = []
    return resolve


def test_a_call_arrives_whole_and_its_answer_comes_back():
    with serving(sends(http_answer("201 Created", b"taken", "X-Kind: good"))) as server:
        resolver = names(HERE)
        url = f"http://hook.example:{server.port}/in?site=tst"
        reply = client(resolver).post(url, b'{"a": 1}', {"Content-Type": "application/json"})
    assert (reply.status, reply.body, reply.headers["x-kind"]) == (201, b"taken", "good")
    head, body = server.requests[0]
    assert body == b'{"a": 1}'
    assert head.startswith("POST /in?site=tst HTTP/1.1\r\n")
    assert f"Host: hook.example:{server.port}" in head
    assert "Accept-Encoding: identity" in head


def test_a_get_and_a_chunked_answer():
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    with serving(sends(chunked)) as server:
        reply = client().get(f"http://{HERE}:{server.port}")
    assert reply.body == b"abcde"
    assert server.requests[0][0].startswith("GET / HTTP/1.1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "//hook.example/x",
        "ftp://hook.example/",
        "file:///etc/passwd",
        "gopher://hook.example/",
        "http:///x",
        "http://user:secret@hook.example/",
        "http://hook.example@127.0.0.1/",
        "http://hook.example:0/",
        "http://hook.example:99999/",
        "http://hook.example:x/",
        "http://hook.example\\@127.0.0.1/",
        "http://hook.example/a b",
        "http://hook.example/\r\nX-Injected: 1",
        "http://hook.exam\tple/",
        " http://hook.example/",
        "http://m\u00fcller.example/",
        "http://[::1",
        "http://hook.example%00/",
        "http://hook_.exa mple/",
    ],
)
def test_what_is_not_a_plain_url_is_refused_before_any_look_up(url):
    resolver = names("8.8.8.8")
    with pytest.raises(UrlRefused) as told:
        client(resolver).post(url, b"")
    assert resolver.asked == []
    assert told.value.code == "remote.url_refused"


@given(st.text(max_size=60))
def test_any_text_as_url_is_refused_or_unreachable_and_nothing_else(text):
    def resolver(host, port):
        raise socket.gaierror(-2, "no such name")

    with pytest.raises((UrlRefused, HostUnreachable)):
        GuardedClient(OutgoingSettings(timeout_s=5), resolver=resolver).post("http://" + text, b"")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",  # noqa: S104, an address to be refused
        "169.254.169.254",
    ],
)
def test_this_machine_is_refused_however_it_is_written(host):
    with pytest.raises((UrlRefused, HostUnreachable)) as told:  # no version 6 here: unreachable
        client(allow=()).post(f"http://{host}:9/", b"")
    if "." in host or host == "localhost":
        assert isinstance(told.value, UrlRefused)
        assert "may not be called" in str(told.value)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("http://192.168.0.1/", True),
        ("http://[fe80::1%25eth0]/", True),
        ("http://8.8.8.8/", False),
        ("https://hook.example/", False),
    ],
)
def test_a_url_can_be_judged_when_it_is_given(url, refused):
    if refused:
        with pytest.raises(UrlRefused):
            client().check_url(url)
    else:
        client().check_url(url)


def test_a_name_that_means_an_address_inside_is_refused():
    with serving(sends(http_answer())) as server:
        with pytest.raises(UrlRefused) as told:
            client(names(HERE), allow=()).post(f"http://inside.example:{server.port}/", b"x")
        assert server.requests == []
    assert told.value.found == "inside.example is 127.0.0.1"


def test_one_forbidden_address_among_good_ones_spoils_the_name():
    def resolver(host, port):
        return [(socket.AF_INET, ("8.8.8.8", port)), (socket.AF_INET, ("10.0.0.1", port))]

    with pytest.raises(UrlRefused):
        client(resolver).post("http://mixed.example/", b"")


def test_a_name_that_changes_between_look_up_and_call_changes_nothing(monkeypatch):
    """Rebinding: the first look-up is harmless, any later one would lead inside."""
    dialled = []

    def connect(self, address):
        dialled.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    resolver = names("93.184.216.34", HERE)
    with pytest.raises(HostUnreachable):
        client(resolver, allow=()).post("http://rebinding.example:8080/", b"")
    assert resolver.asked == ["rebinding.example"]
    assert dialled == [("93.184.216.34", 8080)]


def test_redirects_are_returned_not_followed():
    with serving(sends(http_answer())) as inside:
        moved = http_answer("302 Found", b"", f"Location: http://{HERE}:{inside.port}/")
        with serving(sends(moved)) as server:
            reply = client().post(f"http://{HERE}:{server.port}/", b"")
        assert reply.status == 302
        assert inside.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with serving(sends(http_answer("200 OK", b"proxy"))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{HERE}:{proxy.port}")
        with serving(sends(http_answer("200 OK", b"direct"))) as server:
            assert client().get(f"http://{HERE}:{server.port}/").body == b"direct"
        assert proxy.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Good": "a\r\nX-Bad: b"},
        {"X-Good": "a\nb"},
        {"X-Good\r\nX-Bad": "b"},
        {"X Space": "b"},
        {"": "b"},
        {"X-Good": "\u20ac"},
        {"X-Good": "a\x00"},
        {"Host": "elsewhere"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_headers_that_would_change_the_request_are_refused(headers):
    resolver = names(HERE)
    with pytest.raises(InvalidInput):
        client(resolver).post("http://hook.example/", b"", headers)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        sends(http_answer("200 OK", b"x" * 2001)),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        sends(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 2001),
        drips(CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n", 0),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0),
    ],
    ids=["body", "announced", "until-close", "chunks", "endless-informational"],
)
def test_an_answer_over_the_limit_is_given_up(answer):
    with serving(answer) as server, pytest.raises(AnswerTooLarge):
        client(max_reply_bytes=2000).get(f"http://{HERE}:{server.port}/")


def test_an_answer_of_just_the_limit_is_taken():
    with serving(sends(http_answer("200 OK", b"x" * 2000))) as server:
        assert len(client(max_reply_bytes=2000).get(f"http://{HERE}:{server.port}/").body) == 2000


@pytest.mark.parametrize(
    "answer",
    [
        lambda server, sock: server.stopping.wait(10),
        drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.05),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x", 0.05),
    ],
    ids=["silent", "slow-header", "slow-body"],
)
def test_one_deadline_holds_for_the_whole_call(answer):
    with serving(answer) as server, pytest.raises(CallTimedOut) as told:
        client(timeout_s=0.4).get(f"http://{HERE}:{server.port}/")
    assert told.value.expected == "an answer within 0.4 s"


def test_a_look_up_that_hangs_is_given_up():
    never = threading.Event()

    def resolver(host, port):
        never.wait(10)
        return []

    with pytest.raises(CallTimedOut):
        client(resolver, timeout_s=0.2).get("http://hangs.example/")
    never.set()


@pytest.mark.parametrize(
    "answer",
    [
        sends(b"SSH-2.0-OpenSSH_9.6\r\n"),
        sends(b""),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        sends(b"HTTP/1.1 OK\r\n\r\n"),
    ],
    ids=["not-http", "nothing", "cut", "bad-chunk", "no-status"],
)
def test_what_is_not_an_answer_is_told_as_such(answer):
    with serving(answer) as server, pytest.raises((AnswerInvalid, HostUnreachable)) as told:
        client().get(f"http://{HERE}:{server.port}/")
    assert told.value.kind == "remote"


def test_nobody_listens():
    with socket.create_server((HERE, 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(HostUnreachable):
        client().get(f"http://{HERE}:{port}/")


def test_an_unknown_name():
    def resolver(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(HostUnreachable, match="the name is not known"):
        client(resolver).get("http://nowhere.example/")


def test_the_next_address_is_tried():
    with serving(sends(http_answer("200 OK", b"second"))) as server:

        def resolver(host, port):
            return [
                (socket.AF_INET, ("127.0.0.9", 1)),  # nobody listens
                (socket.AF_INET, (HERE, server.port)),
            ]

        reply = client(resolver, allow=("127.0.0.0/8",)).get("http://two.example/")
    assert reply.body == b"second"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for hook.example, in one file with its key."""
    x509 = pytest.importorskip("cryptography.x509")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("hook.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.7"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return serving(
        sends(http_answer("200 OK", b"secret")),
        wrap=lambda sock: context.wrap_socket(sock, server_side=True),
    )


def test_tls_is_checked_against_the_name_not_the_address(certificate):
    with tls_server(certificate) as server:
        trusting = client(names(HERE), ca_file=str(certificate))
        assert trusting.get(f"https://hook.example:{server.port}/").body == b"secret"
        with pytest.raises(TlsFailed, match=r"other\.example"):
            trusting.get(f"https://other.example:{server.port}/")


def test_an_unknown_certificate_is_refused(certificate):
    with tls_server(certificate) as server, pytest.raises(TlsFailed, match="self-signed"):
        client(names(HERE)).get(f"https://hook.example:{server.port}/")


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "300.0.0.0/8", "", " host"])
def test_networks_in_the_settings_are_networks(entry):
    with pytest.raises(ValidationError):
        OutgoingSettings(allow=(entry,))


def test_no_fault_shows_the_bodys_content():
    with pytest.raises(FirstlightError) as told:
        client(names("10.0.0.1"), allow=()).post("http://hook.example/", b"very secret")
    assert "very secret" not in str(told.value.as_dict())
