"""Who calls: the address behind the proxies that are trusted, and behind no others.

Each proxy adds whom it got the request from at the right end of X-Forwarded-For. From there it is read leftwards for as
long as the addresses are trusted proxies: the first one that is not is the caller, and what stands left of it is their
claim. Whoever connects directly is taken at the word of nobody. (MDN, "X-Forwarded-For: Selecting an IP address".)
"""

import ipaddress
import re
from collections.abc import Sequence

from aiohttp import web

from wellio.config import Network
from wellio.services import SERVICES

CALLER_ADDRESS: web.RequestKey[str] = web.RequestKey("caller's address", str)
MAX_ENTRIES = 20
# 192.0.2.1, 192.0.2.1:1234, 2001:db8::1, [2001:db8::1], [2001:db8::1]:1234
PORT, V6 = r"(?::[0-9]{1,5})?", r"[0-9A-Fa-f:.]{2,45}"
ENTRY = re.compile(rf"(?P<v4>[0-9.]{{7,15}}){PORT}|(?P<v6>{V6})|\[(?P<v6p>{V6})\]{PORT}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(request: web.Request) -> str:
    """Worked out once a request; empty for a peer without one (a Unix socket)."""
    address = request.get(CALLER_ADDRESS)
    if address is None:
        trusted = request.app[SERVICES].config.trusted_proxies
        address = caller_address(request.remote or "", request.headers.getall("X-Forwarded-For", ()), trusted)
        request[CALLER_ADDRESS] = address
    return address


def caller_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """`forwarded`: the header's lines. An entry that is no address ends the walk at the proxy that wrote it."""
    caller = parse_address(peer)
    if caller is None or not trusted:
        return str(caller) if caller else peer
    entries = ",".join(forwarded).split(",")[-MAX_ENTRIES:] if forwarded else []
    while entries and is_trusted(caller, trusted):
        before = parse_address(entries.pop().strip())
        if before is None:
            break
        caller = before
    return str(caller)


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def parse_address(text: str) -> Address | None:
    """With or without a port; IPv4 in IPv6 is IPv4. None for anything else: a name, `unknown`, `_hidden`."""
    match = ENTRY.fullmatch(text.partition("%")[0])
    if match is None:
        return None
    try:
        address = ipaddress.ip_address(match["v4"] or match["v6"] or match["v6p"])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
