#!/usr/bin/env python3
"""What an idle WebSocket costs the server in memory: the growth of its resident set over so many connections.

    .venv/bin/python bench/idle_sockets.py [--sockets 1000]

A server of its own, warmed up first. Each connection is another client's, signed in, told session:ready, and silent
until it is measured. Prints one JSON object.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
from chat import Client, Member, connect, make_members, own_server

WARM_UP = 100
AT_ONCE = 20  # connections under way
SETTLE_S = 4.0


async def measure(url: str, pid: int, members: Sequence[Member]) -> dict[str, Any]:
    server = psutil.Process(pid)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for client in await enter(session, url, members[:WARM_UP]):
            await client.websocket.close()
        await asyncio.sleep(SETTLE_S)
        before = server.memory_info().rss
        clients = await enter(session, url, members[WARM_UP:])
        await asyncio.sleep(SETTLE_S)
        after = server.memory_info().rss
    return {
        "sockets": len(clients),
        "before_mb": round(before / 1e6, 1),
        "after_mb": round(after / 1e6, 1),
        "kb_per_socket": round((after - before) / 1000 / len(clients), 1),
    }


async def enter(session: aiohttp.ClientSession, url: str, members: Sequence[Member]) -> list[Client]:
    clients: list[Client] = []
    for start in range(0, len(members), AT_ONCE):
        some = members[start : start + AT_ONCE]
        clients += await asyncio.gather(*(connect(session, url, member, "", 0.0) for member in some))
    return clients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1000)
    options = parser.parse_args(namespace=argparse.Namespace(group=False))
    options.clients = options.sockets + WARM_UP
    with ExitStack() as stack:
        url, database_url, secret, pids = stack.enter_context(own_server(stack))
        members = asyncio.run(make_members(database_url, secret, options))
        result = asyncio.run(measure(url, pids[0], members))
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
