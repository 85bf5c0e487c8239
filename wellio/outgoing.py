"""Addresses that people give Wellio to call: which are called at all, and what comes of a call.

What may be called is public: a name or address that only Wellio's own network knows would let a stranger reach into
it (SSRF: OWASP API7, ASVS 1.3.6). `guarded_http.py` does the calling, and holds every connection to `is_allowed`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol
from urllib.parse import quote, urlsplit

MAX_URL_CHARS = 2000
HTTPS_PORTS = (443, 8443)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Inside of a URL these are read differently by different readers, or not at all.
NEVER_IN_URL = re.compile(r"[\x00-\x20\x7f\\\"<>^`{|}]")

# IANA's registries of special-purpose addresses (RFC 6890), and what carries an IPv4 address within an IPv6 one.
NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
GLOBAL_6 = IPv6Network("2000::/3")  # all that is given out; mapped, NAT64, unique local and link local lie outside
NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OutgoingRules:
    """`loopback`: addresses of this very machine may be called too, also by http and on any port; for trying out."""

    loopback: bool = False


class NotReached(Exception):
    """A call that came to nothing. `reason` may be shown: it is the same for whatever must not be reached, is not
    there, or refuses, so that nobody can map a network by it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answered:
    """`body` is decoded, and cut off where the caller said so. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to call. Longer answers than `most_bytes` are cut off, or raise NotReached (`whole`).

    `redirects`: how many to follow, each checked as the first address was.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    most_bytes: int = 4096
    whole: bool = False
    redirects: int = 0


class Call(Protocol):
    """Raises NotReached; any status is an answer."""

    async def __call__(self, ask: Ask, /) -> Answered: ...


def checked_url(url: str, rules: OutgoingRules) -> str:
    """The address in the one spelling that is called. Raises ValueError with what is wrong with it.

    Names are not looked up: what they stand for may change, and is checked at each connection.
    """
    if len(url) > MAX_URL_CHARS or NEVER_IN_URL.search(url):
        raise ValueError(
            f"must be an address of at most {MAX_URL_CHARS} characters, without spaces, quotes, braces or backslashes"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not an address, such as https://example.com/path") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an address that begins with https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    host = _ascii_host(parts.hostname)
    if not (rules.loopback and host in LOOPBACK_NAMES):
        _check_public(parts.scheme, host, port)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]") if parts.query else ""
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{path}{query}"


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is anybody's on the internet. What can't be read is not."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return ip.is_global and not any(ip in network for network in NOT_PUBLIC_4)
    return ip.scope_id is None and ip in GLOBAL_6 and ip.is_global and not any(ip in n for n in NOT_PUBLIC_6)


def is_allowed(address: str, host: str, rules: OutgoingRules) -> bool:
    """Whether a connection to `address` may be made for `host`. No name but `localhost` stands for this machine."""
    return is_public(address) or (rules.loopback and host in LOOPBACK_NAMES and ip_address(address).is_loopback)


def _check_public(scheme: str, host: str, port: int | None) -> None:
    if scheme != "https":
        raise ValueError("must be an address that begins with https://")
    if (443 if port is None else port) not in HTTPS_PORTS:
        raise ValueError(f"must use port {' or '.join(map(str, HTTPS_PORTS))}")
    if _is_ip(host):
        if not is_public(host):
            raise ValueError("must be an address that the whole internet can reach")
    elif "." not in host or host.rpartition(".")[2] in ("localhost", "local", "internal", "arpa", "onion"):
        raise ValueError("must be an address that the whole internet can reach")


def _ascii_host(host: str) -> str:
    """As the DNS has it. Raises ValueError: what a resolver would take for an address in another spelling, too."""
    if _is_ip(host):
        return str(ip_address(host))
    try:
        ascii_host = host.encode("idna").decode().lower()
    except UnicodeError:
        ascii_host = ""
    labels = ascii_host.split(".")
    number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1])  # 2130706433, 127.1, 0x7f.1 (WHATWG URL, 3.5)
    if number and not _is_ip(ascii_host):
        raise ValueError("is not an address, such as https://example.com/path")
    if not number and (len(ascii_host) > 253 or not all(LABEL.fullmatch(label) for label in labels)):
        raise ValueError("is not an address, such as https://example.com/path")
    return ascii_host


def _is_ip(host: str) -> bool:
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    return isinstance(ip, IPv4Address) or (isinstance(ip, IPv6Address) and ip.scope_id is None)
