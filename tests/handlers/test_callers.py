"""Whose request it is: the address behind trusted proxies, and behind no others."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.config import Network
from wellio.handlers.callers import caller_address

PROXIES: list[Network] = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2,10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", ["010.0.0.1"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.1.evil.example"], "10.0.0.1"),
        ("10.0.0.1", ["2130706433"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_caller_is_the_right_most_address_that_is_no_trusted_proxy(
    peer: str, forwarded: list[str], caller: str
) -> None:
    assert caller_address(peer, forwarded, PROXIES) == caller


@given(st.lists(st.text(max_size=40), max_size=30))
def test_who_connects_directly_can_claim_nothing(forwarded: list[str]) -> None:
    assert caller_address("192.0.2.1", forwarded, PROXIES) == "192.0.2.1"
    assert caller_address("10.0.0.1", forwarded, []) == "10.0.0.1"


@given(st.lists(st.text(max_size=40), max_size=5))
def test_what_a_caller_claims_is_left_of_what_the_proxy_saw(claims: list[str]) -> None:
    assert caller_address("10.0.0.1", [*claims, "198.51.100.1"], PROXIES) == "198.51.100.1"


@given(st.lists(st.text(max_size=60), max_size=5))
def test_whatever_is_forwarded_has_a_caller(forwarded: list[str]) -> None:
    assert caller_address("10.0.0.1", forwarded, PROXIES)
