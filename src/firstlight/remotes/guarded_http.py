"""Calls to addresses that users give, which must not reach into the operator's network.

A URL is taken apart, its name is looked up once, every address found is judged, and the
connection goes to a judged address: a name that changes between the look-up and the call
(rebinding) changes nothing. Redirects are not followed, proxies of the environment are not
used, and time and size of the whole exchange are limited.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from firstlight.errors import InvalidInput, RemoteError, UserError
from firstlight.remotes.addresses import AddressRule, parse_address
from firstlight.remotes.settings import OutgoingSettings

__all__ = [
    "AnswerInvalid",
    "AnswerTooLarge",
    "CallTimedOut",
    "GuardedClient",
    "HostUnreachable",
    "Reply",
    "Resolver",
    "TlsFailed",
    "UrlRefused",
    "resolve",
]

_HEADERS_ALLOWANCE = 65_536  # bytes of status line and headers, above the limit of the body
_OUR_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_URL = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?", re.ASCII)
_PORTS = {"http": 80, "https": 443}

Endpoint: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]
"""Family and address as the socket library wants them."""
Resolver: TypeAlias = Callable[[str, int], Sequence[Endpoint]]


class UrlRefused(UserError):
    """An address that may not be called."""

    code = "remote.url_refused"


class CallTimedOut(RemoteError):
    """The other system took too long."""

    code = "remote.timeout"


class AnswerTooLarge(RemoteError):
    """The other system's answer is too large."""

    code = "remote.too_large"


class HostUnreachable(RemoteError):
    """The other system cannot be reached."""

    code = "remote.unreachable"


class TlsFailed(RemoteError):
    """The other system could not prove who it is."""

    code = "remote.tls_failed"


class AnswerInvalid(RemoteError):
    """The other system's answer is not HTTP."""

    code = "remote.answer_invalid"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def resolve(host: str, port: int) -> list[Endpoint]:
    """Look a name up; raises `OSError` as the system's resolver does."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


class GuardedClient:
    """Makes calls on behalf of users.

    Parameters
    ----------
    settings
        What the operator allows, and limits.
    resolver
        Looks names up.
    """

    def __init__(self, settings: OutgoingSettings, *, resolver: Resolver = resolve) -> None:
        self._settings = settings
        self._rule = AddressRule(settings.allow)
        self._resolver = resolver
        self._tls = ssl.create_default_context(cafile=settings.ca_file)

    def check_url(self, url: str) -> None:
        """Refuse a URL that can never be called; addresses behind a name are judged at the call.

        Raises
        ------
        UrlRefused
            It is not a plain http or https URL, or names an address that may not be called.
        """
        host = _split(url).hostname or ""
        try:
            address = parse_address(host)
        except ValueError:
            return
        self._judge(url, host, str(address))

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Send `body` and return the answer, whatever its status.

        Raises
        ------
        UrlRefused
            The URL, or an address behind its name, may not be called. Nothing was sent.
        HostUnreachable, TlsFailed, AnswerInvalid
            The call failed, maybe after it was received.
        CallTimedOut, AnswerTooLarge
            A limit was passed.
        """
        return self._call("POST", url, body, headers or {})

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for a resource; raises what `post` raises."""
        return self._call("GET", url, None, headers or {})

    def _call(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        parts = _split(url)
        _check_headers(headers)
        deadline = _Deadline(url, self._settings.timeout_s)
        endpoints = self._look_up(url, parts, deadline)
        try:
            connected = self._connect(url, parts, endpoints, deadline)
            with connected:
                return self._exchange(connected, method, parts, body, headers)
        except ssl.SSLError as fault:
            raise TlsFailed(_reason(fault), subject=url) from fault
        except TimeoutError as fault:
            raise deadline.passed() from fault
        except http.client.HTTPException as fault:
            raise AnswerInvalid(subject=url, found=repr(fault)[:200]) from fault
        except OSError as fault:
            raise HostUnreachable(subject=url, found=_reason(fault)) from fault

    def _look_up(self, url: str, parts: SplitResult, deadline: _Deadline) -> list[Endpoint]:
        host, port = _host(parts), parts.port or _PORTS[parts.scheme]
        try:
            found = _within(deadline, lambda: self._resolver(host, port))
        except (OSError, UnicodeError) as fault:
            if isinstance(fault, TimeoutError):
                raise deadline.passed() from fault
            raise HostUnreachable(
                "the name is not known", subject=url, field="host", found=host
            ) from fault
        # Of a name with one forbidden address among good ones, nothing is to be believed.
        for _, address in found:
            self._judge(url, host, str(address[0]))
        if not found:
            raise HostUnreachable("the name has no address", subject=url, field="host", found=host)
        return list(found)

    def _judge(self, url: str, host: str, address: str) -> None:
        why = self._rule.refusal(host, parse_address(address))
        if why is not None:
            raise UrlRefused(
                f"this address may not be called: {why}",
                subject=url,
                field="host",
                found=address if address == host else f"{host} is {address}",
                expected="a public address, or one that the operator has allowed",
                hint="an operator can list it in the setting outgoing.allow",
            )

    def _connect(
        self, url: str, parts: SplitResult, endpoints: Sequence[Endpoint], deadline: _Deadline
    ) -> _LimitedSocket:
        fault: OSError | None = None
        for family, address in endpoints:
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(min(self._settings.connect_timeout_s, deadline.left()))
                plain.connect(address)
                sock = self._encrypt(plain, parts, deadline)
            except OSError as this:
                plain.close()
                fault = this
                if isinstance(this, ssl.SSLError) or deadline.is_over():
                    break
                continue
            limit = self._settings.max_reply_bytes + _HEADERS_ALLOWANCE
            return _LimitedSocket(sock, url, deadline, limit)
        if isinstance(fault, TimeoutError) and not deadline.is_over():
            wait = self._settings.connect_timeout_s
            raise CallTimedOut(subject=url, expected=f"a connection within {wait:g} s") from fault
        raise fault if fault is not None else OSError("no address")

    def _encrypt(
        self, plain: socket.socket, parts: SplitResult, deadline: _Deadline
    ) -> socket.socket:
        if parts.scheme == "http":
            return plain
        plain.settimeout(deadline.left())
        return self._tls.wrap_socket(plain, server_hostname=_host(parts).partition("%")[0])

    def _exchange(
        self,
        sock: _LimitedSocket,
        method: str,
        parts: SplitResult,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        connection = http.client.HTTPConnection(_host(parts), parts.port)
        connection.sock = sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # Identity: what is not unpacked cannot be a bomb.
        ours = {
            "Host": _host_header(parts),
            "Connection": "close",
            "Accept-Encoding": "identity",
            "User-Agent": "firstlight",
        }
        connection.request(method, path, body=body, headers={**headers, **ours})
        with connection.getresponse() as answer:
            limit = self._settings.max_reply_bytes
            if (answer.length or 0) > limit:
                raise sock.too_large()
            content = answer.read(limit + 1)
            if len(content) > limit:
                raise sock.too_large()
            if answer.length:  # the connection closed early, or more is to come
                raise http.client.IncompleteRead(content, answer.length)
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, content)


class _Deadline:
    """The end of one call."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; raises `TimeoutError` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def passed(self) -> CallTimedOut:
        return CallTimedOut(subject=self._url, expected=f"an answer within {self._seconds:g} s")


class _LimitedSocket:
    """What `http.client` uses of a socket, with one deadline and one limit for all of it.

    A socket's own time limit holds for each read; a server that sends a byte at a time would
    never pass it.
    """

    def __init__(self, sock: socket.socket, url: str, deadline: _Deadline, limit: int) -> None:
        self._sock, self._url, self._deadline, self._left = sock, url, deadline, limit

    def __enter__(self) -> _LimitedSocket:
        return self

    def __exit__(self, *exc: object) -> None:
        self._sock.close()

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.left())
            rest = rest[self._sock.send(rest[:65_536]) :]

    def receive_into(self, buffer: memoryview) -> int:
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise self.too_large()
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # only ever "rb"
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Nothing: `http.client` closes before the answer is read; the context closes."""

    def too_large(self) -> AnswerTooLarge:
        return AnswerTooLarge(subject=self._url)


class _Incoming(io.RawIOBase):
    def __init__(self, sock: _LimitedSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sock.receive_into(buffer)


def _within(deadline: _Deadline, look_up: Callable[[], Sequence[Endpoint]]) -> Sequence[Endpoint]:
    """Run what cannot be interrupted, and stop waiting for it at the deadline."""
    found: list[Sequence[Endpoint]] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            found.append(look_up())
        except BaseException as fault:  # noqa: BLE001, raised again by the thread that waits
            faults.append(fault)

    thread = threading.Thread(target=run, name="look-up", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if faults:
        raise faults[0]
    if not found:
        raise TimeoutError
    return found[0]


def _split(url: str) -> SplitResult:
    """Take a URL apart; `UrlRefused` for any that programs could read in two ways."""
    expected = "http://host/path or https://host:port/path, in ASCII, with no password"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as fault:
        raise UrlRefused("this is not a URL", subject=url[:200], expected=expected) from fault
    if (
        not _URL.fullmatch(url)
        or "\\" in url
        or parts.scheme not in _PORTS
        or "@" in parts.netloc
        or not _HOST.fullmatch(host)
        or port == 0
    ):
        raise UrlRefused("this is not a plain URL", subject=url[:200], expected=expected)
    return parts


def _host(parts: SplitResult) -> str:
    return parts.hostname or ""


def _host_header(parts: SplitResult) -> str:
    host = _host(parts)
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host
    return f"{shown}:{parts.port}" if parts.port else shown


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise InvalidInput("this header cannot be sent", field="headers", found=repr(name))
        if not _VALUE.fullmatch(value):
            raise InvalidInput(
                "the value of a header cannot be sent", field=name, expected="one line of Latin-1"
            )


def _reason(fault: OSError) -> str:
    return str(getattr(fault, "verify_message", "") or fault.strerror or fault)
