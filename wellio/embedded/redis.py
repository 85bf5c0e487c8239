"""The embedded Redis: its settings, its command. Old, and so for development only."""

import signal
import socket
from pathlib import Path

from wellio.embedded.binaries import find_redis
from wellio.embedded.places import Places, private_dir
from wellio.embedded.processes import Program

SETTINGS = {
    "daemonize": "no",
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    # What is kept here can be made again; when it fills up, the oldest of what expires anyway goes first.
    "maxmemory": "256mb",
    "maxmemory-policy": "volatile-lru",
}


def program(places: Places, *, throwaway: bool) -> Program:
    """Raises EmbeddedError when there is no Redis."""
    folder = private_dir(places.servers / "redis", places.account)
    settings = SETTINGS | {
        "dir": str(folder),
        "unixsocket": str(_socket(places)),
        "appendonly": "no" if throwaway else "yes",
    }
    return Program(
        name="Redis",
        command=[
            str(find_redis(places.account)),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ],
        stop=signal.SIGTERM,
        quit=signal.SIGKILL,
        ready=lambda _: _answers(_socket(places)),
    )


def url(places: Places) -> str:
    return f"unix://{_socket(places)}"


def _socket(places: Places) -> Path:
    return places.sockets / "redis.sock"


def _answers(path: Path) -> bool:
    """While it loads its data it says so instead of PONG."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
