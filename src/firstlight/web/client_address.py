"""Where a request comes from, where proxies stand between."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.types import Scope

__all__ = ["Networks", "client_address", "neighbourhood", "networks"]

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


def networks(texts: Iterable[str]) -> Networks:
    """Read addresses and networks, as ``10.0.0.7`` or ``10.0.0.0/8``.

    Raises
    ------
    ValueError
        One is neither.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


def client_address(scope: Scope, trusted: Networks) -> str:
    """The address of whoever asks; empty where it is not known.

    Parameters
    ----------
    scope
        Of the request.
    trusted
        Proxies whose word is taken for where a request came from. The header is read from its
        end, since whatever stands before the first proxy of ours was written by the sender.
    """
    client = scope.get("client")
    found = str(client[0]) if client else ""
    named = Headers(scope=scope).getlist("x-forwarded-for")
    hops = [hop.strip() for hop in ",".join(named).split(",") if hop.strip()]
    while hops and _is_in(found, trusted):
        found = hops.pop()
    return found


def neighbourhood(address: str) -> str:
    """What counts as one sender: an IPv4 address, or the 64 bits that an IPv6 site is given."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)


def _is_in(address: str, trusted: Networks) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in trusted)
