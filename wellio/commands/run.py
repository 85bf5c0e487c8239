"""How the commands start, and how they end."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from pydantic import ValidationError

from wellio.attribution import ATTRIBUTION, Attribution
from wellio.commands.remote import Remote, open_remote
from wellio.config import read_api_key
from wellio.embedded import EmbeddedError
from wellio.errors import Invalid, StartupError, WellioError
from wellio.jobs.command import find_database, migrated
from wellio.outbox import Outbox

AtHome = Callable[[Outbox], Awaitable[None]]
Elsewhere = Callable[[Remote], Awaitable[None]]
FAILED, INTERRUPTED = 1, 130


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog="Without --url it works on the database of DATABASE_URL, or on that of bin/up.",
    )
    parser.add_argument("--url", help="a Wellio elsewhere: https://…; WELLIO_API_KEY in the environment lets in there")
    return parser


def run(name: str, url: str | None, at_home: AtHome, elsewhere: Elsewhere) -> None:
    """Ends the process when it fails: with 1 and one line on standard error."""
    try:
        if url is not None:
            asyncio.run(_run_elsewhere(url, elsewhere))
        else:
            with ExitStack() as stack:
                asyncio.run(_run_at_home(name, find_database(stack), at_home))
    except (StartupError, WellioError, EmbeddedError) as error:
        sys.stderr.write(f"{name}: {_told(error)}\n")
        raise SystemExit(FAILED) from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        sys.stderr.write(f"{name}: {problems}\n")
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def _run_at_home(name: str, url: str, at_home: AtHome) -> None:
    ATTRIBUTION.set(Attribution(operation=f"bin/{name}"))
    async with migrated(url) as db:
        await at_home(Outbox(db))


async def _run_elsewhere(url: str, elsewhere: Elsewhere) -> None:
    async with open_remote(url, read_api_key()) as remote:
        await elsewhere(remote)


def ask_password() -> str:
    """From the terminal, or the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass("New password: ")
    return sys.stdin.readline().rstrip("\n")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _told(error: Exception) -> str:
    fields = error.details.get("fields", ()) if isinstance(error, Invalid) else ()
    return " ".join([str(error) if not fields else "", *(f["message"] for f in fields)]).strip()
