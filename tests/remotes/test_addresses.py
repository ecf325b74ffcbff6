from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.remotes.addresses import AddressRule, refusal

FORBIDDEN = [
    "0.0.0.0",  # noqa: S104, an address to be refused
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_not_a_public_host_is_refused_with_a_reason(address):
    assert refusal(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_hosts_may_be_called(address):
    assert refusal(ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_whatever_the_library_calls_private_is_refused(address: IPv4Address):
    inside = address.is_private or address.is_loopback or address.is_link_local
    if inside or address.is_multicast or address.is_reserved:
        assert refusal(address)
        assert refusal(IPv6Address(f"::ffff:{address}"))
        assert refusal(IPv6Address(int(IPv6Address("64:ff9b::")) + int(address)))


@given(st.ip_addresses(v=6))
def test_of_version_6_only_global_unicast_is_public(address: IPv6Address):
    if refusal(address) is None:
        assert address.is_global or address.ipv4_mapped or int(address) >> 32 == 0x64FF9B << 64


def test_listed_networks_and_names_are_allowed_and_nothing_beside_them():
    rule = AddressRule(["10.1.0.0/16", "127.0.0.1", "analysis.local.", "fd00::/8"])
    assert rule.refusal("x", ip_address("10.1.2.3")) is None
    assert rule.refusal("x", ip_address("::ffff:10.1.2.3")) is None
    assert rule.refusal("x", ip_address("10.2.0.1"))
    assert rule.refusal("x", ip_address("127.0.0.2"))
    assert rule.refusal("x", ip_address("fd00::1")) is None
    assert rule.refusal("Analysis.Local", ip_address("192.168.0.9")) is None
    assert rule.refusal("evil.analysis.local", ip_address("192.168.0.9"))
