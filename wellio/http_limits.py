"""What connections may take: time, and room."""

import resource
from dataclasses import dataclass

MOST_CONNECTIONS = 10_000
# File descriptors that are not callers': the database's, Redis's, files, and those that are being turned away.
RESERVED = 100
PER_ADDRESS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """`idle_s`: for a request's headers to arrive, and between requests. `body_s`: for its body.

    `connections`: of this process. `per_address`: of one address (IPv6: of a /64) that is no trusted proxy; twenty
    people behind one address, each with browser and phone, need about a hundred. `local`: of this machine's addresses.
    """

    idle_s: float = 75.0
    body_s: float = 30.0
    connections: int = MOST_CONNECTIONS
    per_address: int = PER_ADDRESS
    local: int = PER_ADDRESS


def fitting_http_limits(*, scale: float, local_addresses: int) -> HttpLimits:
    """Scaled, and within the file descriptors that the operating system gives (`ulimit -n`)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(10, soft - RESERVED)
    per_address = max(1, round(PER_ADDRESS * scale))
    return HttpLimits(
        connections=min(MOST_CONNECTIONS, room), per_address=per_address, local=per_address * local_addresses
    )
