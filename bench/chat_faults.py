#!/usr/bin/env python3
"""What must hold for chat, whatever dies, hangs, floods or comes back: two Wellios behind proxies on one database.

    .venv/bin/python bench/chat_faults.py all            each of these in a small size, one after the other
    .venv/bin/python bench/chat_faults.py order          one order for everybody, on both processes
    .venv/bin/python bench/chat_faults.py pipelining     what is sent without waiting keeps its order
    .venv/bin/python bench/chat_faults.py once           ten at once with one client_message_id, on both processes
    .venv/bin/python bench/chat_faults.py kills --messages 10000 --kills 20     acked messages survive kill -9
    .venv/bin/python bench/chat_faults.py missed --messages 500                 chat:sync, with edits and reactions
    .venv/bin/python bench/chat_faults.py returns --messages 500                connection state recovery
    .venv/bin/python bench/chat_faults.py redis          killed, hung, flushed, restarted, the last push lost
    .venv/bin/python bench/chat_faults.py slow           readers that stop reading
    .venv/bin/python bench/chat_faults.py idle           handshakes that are never completed
    .venv/bin/python bench/chat_faults.py acks           every event, wrong in every way, is acked with an error
    .venv/bin/python bench/chat_faults.py sessions       tokens expire, sessions are revoked, members removed
    .venv/bin/python bench/chat_faults.py presence       a process that dies takes its people along
    .venv/bin/python bench/chat_faults.py reads          read state and exact unread counts
    .venv/bin/python bench/chat_faults.py load --sockets 2000 --rate 200 --seconds 600
    .venv/bin/python bench/chat_faults.py storm --sockets 2000                  all come back at once
    .venv/bin/python bench/chat_faults.py drain --sockets 500                   SIGTERM with all of them connected
    .venv/bin/python bench/chat_faults.py abuse          oversized, malformed, floods, at the door, stolen names, EIO 3

Own PostgreSQL (fsync on) and Redis in a new folder; everything on loopback, and only its own processes are ended.
Prints a line of JSON for each check, and ends with 1 when one of them has a `failure`. Most drive the official
JavaScript client: Node.js, and `npm ci --ignore-scripts` in tests/js.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from chat_checks import abuse, crowds, doors, links, messages, recovery, sessions  # noqa: E402
from chat_checks.scene import Scene, open_scene  # noqa: E402


@dataclass(frozen=True, slots=True)
class Check:
    """Gives figures; raises AssertionError for what does not hold. `limited`: with the rate limits of a fresh Wellio,
    else they are out of reach. `small`: what `all` asks of it."""

    run: Callable[[Scene, argparse.Namespace], Awaitable[dict[str, Any]]]
    limited: bool = False
    small: tuple[tuple[str, int], ...] = ()


CHECKS = {
    "order": Check(messages.order, small=(("messages", 100),)),
    "pipelining": Check(messages.pipelining, small=(("messages", 100),)),
    "once": Check(messages.once),
    "kills": Check(crowds.kills, small=(("messages", 400), ("kills", 3))),
    "missed": Check(recovery.missed, small=(("messages", 500),)),
    "returns": Check(recovery.returns, small=(("messages", 500),)),
    "redis": Check(links.redis),
    "slow": Check(doors.slow),
    "idle": Check(doors.idle),
    "acks": Check(messages.acks),
    "sessions": Check(sessions.sessions),
    "presence": Check(sessions.presence),
    "reads": Check(messages.reads),
    "load": Check(crowds.load, small=(("sockets", 100), ("rate", 50), ("seconds", 10))),
    "storm": Check(crowds.storm, small=(("sockets", 100),)),
    "drain": Check(crowds.drain, small=(("sockets", 100),)),
    "abuse": Check(abuse.abuse, limited=True),
}


async def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    check, before, began = CHECKS[name], os.getloadavg()[0], time.perf_counter()
    async with open_scene(rate_limit_scale=1 if check.limited else 10_000) as scene:
        try:
            result = {"failure": None, **await check.run(scene, options)}
        except (AssertionError, OSError, TimeoutError, aiohttp.ClientError) as error:
            result = {"failure": str(error)[:1000] or repr(error), "at": _place(error)}
    took_s = round(time.perf_counter() - began, 1)
    load = [round(n, 1) for n in (before, os.getloadavg()[0])]
    return {"check": name, **result, "took_s": took_s, "load_average": load}


def _place(error: BaseException) -> str:
    """The line of the check that failed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "chat_checks" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].line}" if frames else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=[*CHECKS, "all"])
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--rate", type=int, default=200, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    failed = False
    for name in CHECKS if options.check == "all" else [options.check]:
        small = dict(CHECKS[name].small) if options.check == "all" else {}
        result = asyncio.run(run(name, argparse.Namespace(**{**vars(options), **small})))
        print(json.dumps(result), flush=True)
        failed = failed or bool(result["failure"])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
