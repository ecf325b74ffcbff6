"""Which addresses of the internet may be called on behalf of a user.

What a user's URL names must be a public host. All else (this machine, the machine room around
it, the cloud's metadata service, groups of hosts) is refused unless the operator has listed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

__all__ = ["Address", "AddressRule", "refusal"]

Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

# IANA's registry of special-purpose addresses, written out: what the standard library calls
# private has changed between its releases.
_NOT_PUBLIC_V4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "behind a carrier's translator",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's metadata service",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "reserved for documentation",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved for benchmarks",
    "198.51.100.0/24": "reserved for documentation",
    "203.0.113.0/24": "reserved for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_NOT_PUBLIC_V6 = {
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "reserved for documentation",
    "2002::/16": "6to4",
    "3fff::/20": "reserved for documentation",
}
_V4 = [(IPv4Network(network), why) for network, why in _NOT_PUBLIC_V4.items()]
_V6 = [(IPv6Network(network), why) for network, why in _NOT_PUBLIC_V6.items()]
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of version 6 that is given out to hosts
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: Address) -> str | None:
    """Why an address is not a public host; ``None`` for one that is."""
    address = _carried(address)
    if isinstance(address, IPv4Address):
        return next((why for network, why in _V4 if address in network), None)
    for network, why in _V6:
        if address in network:
            return why
    return None if address in _GLOBAL_UNICAST else "not a public address of version 6"


def _carried(address: Address) -> Address:
    """Return the address of version 4 that one of version 6 stands for, else itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class AddressRule:
    """Public addresses and those that the operator has listed.

    Parameters
    ----------
    allow
        Names of hosts, addresses and networks.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._networks: list[_Network] = []
        self._names: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ip_network(entry))
            except ValueError:
                self._names.add(entry.lower().rstrip("."))

    def refusal(self, host: str, address: Address) -> str | None:
        """Why `address`, found under the name `host`, may not be called; ``None`` if it may."""
        if host.lower().rstrip(".") in self._names:
            return None
        carried = _carried(address)
        if any(each in network for network in self._networks for each in (address, carried)):
            return None
        return refusal(address)


def parse_address(text: str) -> Address:
    """Read an address as the resolver writes it, with or without a zone."""
    return ip_address(text.partition("%")[0])
