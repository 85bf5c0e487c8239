"""Rate limits: buckets of tokens, kept in Redis and in this process; the emptier of the two counts.

Each bucket is one number, the time at which it is full again: the virtual scheduling form of the Generic Cell Rate
Algorithm (ITU-T I.371, annex A; for HTTP: brandur.org/rate-limiting). Redis wiped, the process still limits; the
process restarted, Redis still does; Redis away, each process limits alone (`wellio/shared_buckets.py`). Who is refused
by the process costs Redis nothing.

Keys hold a keyed hash of whom they count, so that Redis knows no address of anybody.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, sha256
from typing import NoReturn

from wellio.errors import TooMany
from wellio.shared_buckets import Group, Move, SharedBuckets

# The least recently used are forgotten: some 20 MB at most.
MAX_KEYS = 100_000
EMPTY = -1_000_000_000  # as many tokens given back as no bucket holds
# In development a team, its tests and its tools share 127.0.0.1, which then counts as so many addresses.
LOCAL_ADDRESSES = 20


@dataclass(frozen=True, slots=True)
class Bucket:
    """Whose tokens: a limit for a subject. `local`: the subject is an address of this machine."""

    limit: "Limit"
    subject: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` at once, filled again evenly within `per_s` seconds. `message` is for who is refused."""

    name: str
    count: int
    per_s: int
    message: str = "Too many requests."
    by_address: bool = False

    def of(self, subject: object) -> Bucket:
        """The bucket of an account, user or session; of an address, where the limit counts those."""
        return Bucket(self, *customer_of(str(subject))) if self.by_address else Bucket(self, str(subject))


_SIGN_IN = "Too many attempts to sign in."
_MAILS = "Too many mails were asked for; look into the mailbox first."

# An attempt is taken before the password is looked at and given back when it was right: these count failures. The
# account is the address as typed, whether there is such a user or not.
LOGIN_ACCOUNT = Limit("login_account", 5, 30 * 60, _SIGN_IN)
LOGIN_MINUTE = Limit("login_minute", 10, 60, _SIGN_IN, by_address=True)
LOGIN_HOUR = Limit("login_hour", 100, 3600, _SIGN_IN, by_address=True)
REGISTER = Limit("register", 3, 3600, "Too many practices were registered from here.", by_address=True)
RESET_HOUR = Limit("reset_hour", 2, 3600, _MAILS)
RESET_DAY = Limit("reset_day", 5, 24 * 3600, _MAILS)
RESET_ADDRESS = Limit("reset_address", 20, 24 * 3600, _MAILS, by_address=True)
VERIFY_EMAIL = Limit("verify_email", 3, 3600, _MAILS)
INVITATIONS = Limit("invitations", 30, 3600, "Too many invitations.")
API_KEYS = Limit("api_keys", 10, 3600, "Too many API keys.")
UPLOADS = Limit("uploads", 120, 3600, "Too many uploads.")
# Of practices' data; each takes a connection and seconds of work.
EXPORTS = Limit("exports", 20, 3600, "Too many exports.")
REFRESH = Limit("refresh", 30, 60, "This session is refreshed too often.")
# For every request: 200 a minute with 100 at once for a user (a page of a front end asks for dozens of things), of
# which 60 may write; 100 a minute for who is not signed in.
USER = Limit("user", 100, 30)
WRITES = Limit("writes", 60, 60)
ANONYMOUS = Limit("anonymous", 100, 60, by_address=True)

# Messages of a user, by socket and by REST: 5 a second with 20 at once.
MESSAGES = Limit("messages", 20, 4, "Too many messages at once.")
# New sockets. All of an office come back within a minute after a restart.
CONNECTS = Limit("connects", 60, 60, "Too many connections were opened from here.", by_address=True)

# What `Route.limit` may name.
NAMED = {limit.name: limit for limit in (INVITATIONS, API_KEYS, VERIFY_EMAIL, UPLOADS, EXPORTS, MESSAGES)}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bucket stands: `remaining` tokens of `count`, full again in `full_in_s`.

    `retry_after_s` is 0 unless the bucket refuses.
    """

    limit: Limit
    count: int
    remaining: int
    full_in_s: float
    retry_after_s: float


# What this request has taken, for the headers of its answer.
STANDINGS: ContextVar[list[Standing] | None] = ContextVar("rate limit standings", default=None)


class Limits:
    """The one place that counts. `local_addresses`: how many addresses those of this machine count as."""

    def __init__(self, shared: SharedBuckets, *, secret: str, scale: float = 1.0, local_addresses: int = 1) -> None:
        self._shared = shared
        self._own = _OwnBuckets()
        self._key = sha256(b"wellio rate limits\0" + secret.encode()).digest()
        self._scale = scale
        self._local_addresses = local_addresses

    async def take(self, *buckets: Bucket) -> None:
        """A token of each. Raises TooMany, and takes none, when any of them is empty."""
        refusal = first_refusal(await self.try_take(*buckets))
        if refusal is not None:
            refuse(refusal)

    async def count(self, *buckets: Bucket) -> None:
        """As `take`, for every request: while its buckets are at least half full here, Redis is told and not waited
        for. What other processes have let through counts from the next request on."""
        refusal = first_refusal(self._told(await self._move(buckets, 1, patient=False)))
        if refusal is not None:
            refuse(refusal)

    async def try_take(self, *buckets: Bucket) -> Sequence[Standing]:
        """As `take`, for who deals with the refusal: `first_refusal` of what it gives."""
        return self._told(await self._move(buckets, 1))

    async def give_back(self, *buckets: Bucket) -> None:
        """What was taken did not count."""
        await self._move(buckets, -1)

    async def clear(self, *buckets: Bucket) -> None:
        """Fills the buckets."""
        await self._move(buckets, EMPTY)

    async def peek(self, *buckets: Bucket) -> Sequence[Standing]:
        return await self._move(buckets, 0)

    async def stop(self) -> None:
        await self._shared.stop()

    @staticmethod
    def _told(standings: Sequence[Standing]) -> Sequence[Standing]:
        told = STANDINGS.get()
        if told is not None:
            told.extend(standings)
        return standings

    async def _move(self, buckets: Sequence[Bucket], cost: int, *, patient: bool = True) -> Sequence[Standing]:
        group = Group(tuple(self._move_of(bucket) for bucket in buckets), cost)
        own = self._own.run(group)
        if not patient and all(2 * level <= move.room_us for level, move in zip(own, group.moves, strict=True)):
            self._shared.tell(group, partial(self._own.raise_to, group))
        elif not group.refused_by(own):
            shared = await self._shared.run(group)
            if shared is not None:
                if group.refused_by(shared):
                    self._own.run(Group(group.moves, -cost))
                own = [max(pair) for pair in zip(own, shared, strict=True)]
        return [_standing(b.limit, m, level) for b, m, level in zip(buckets, group.moves, own, strict=True)]

    def _move_of(self, bucket: Bucket) -> Move:
        scale = self._scale * (self._local_addresses if bucket.local else 1)
        room_us = bucket.limit.per_s * 1_000_000
        digest = blake2b(bucket.subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).hexdigest()
        # A token costs a microsecond at least: a scale of a million is no division by nothing.
        interval_us = max(1, room_us // max(1, round(bucket.limit.count * scale)))
        return Move(f"{bucket.limit.name}:{digest}", interval_us, room_us)


class _OwnBuckets:
    """The same buckets in this process, by its own clock. Microseconds, as in Redis."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def run(self, group: Group) -> list[int]:
        now = time.monotonic_ns() // 1000
        levels = [max(0, max(0, self._full_at.get(m.key, 0) - now) + group.cost * m.interval_us) for m in group.moves]
        if group.cost and not group.refused_by(levels):
            for move, level in zip(group.moves, levels, strict=True):
                self._keep(move.key, now, level)
        return levels

    def raise_to(self, group: Group, levels: Sequence[int]) -> None:
        """What Redis counts, where that is more."""
        now = time.monotonic_ns() // 1000
        for move, level in zip(group.moves, levels, strict=True):
            if now + level > self._full_at.get(move.key, 0):
                self._keep(move.key, now, level)

    def _keep(self, key: str, now: int, level: int) -> None:
        if not level:
            self._full_at.pop(key, None)
            return
        self._full_at[key] = now + level
        self._full_at.move_to_end(key)
        if len(self._full_at) > MAX_KEYS:
            self._full_at.popitem(last=False)


def first_refusal(standings: Iterable[Standing]) -> Standing | None:
    """The one that refuses for longest."""
    refusing = [standing for standing in standings if standing.retry_after_s]
    return max(refusing, key=lambda standing: standing.retry_after_s, default=None)


def refuse(standing: Standing) -> NoReturn:
    wait_s = standing.retry_after_s
    wait = f"{math.ceil(wait_s / 60)} minutes" if wait_s > 60 else f"{max(1, math.ceil(wait_s))} s"
    raise TooMany(f"{standing.limit.message} Try again in {wait}.", retry_after_s=wait_s)


def _standing(limit: Limit, move: Move, level_us: int) -> Standing:
    """`level_us`: how long the bucket takes to be full, after the move."""
    over_us = max(0, level_us - move.room_us)
    return Standing(
        limit=limit,
        count=move.room_us // move.interval_us,
        remaining=0 if over_us else (move.room_us - level_us) // move.interval_us,
        full_in_s=(min(level_us, move.room_us)) / 1_000_000,
        retry_after_s=over_us / 1_000_000,
    )


def customer_of(text: str) -> tuple[str, bool]:
    """What an address counts as, and whether it is this machine's: IPv6 by its /64, which is what a customer gets."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text, False
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 4:
        return str(address), address.is_loopback
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64))), address.is_loopback
