"""`bin/create-user`: a new user, with a password at home, by an invitation elsewhere."""

import argparse
from collections.abc import Sequence
from uuid import UUID

from wellio.accounts.actors import Role
from wellio.accounts.operators import NewUser, add_user
from wellio.accounts.passwords import Passwords
from wellio.accounts.practices import Practice
from wellio.commands.remote import Remote
from wellio.commands.run import ask_password, make_parser, run, say
from wellio.db import Database
from wellio.errors import StartupError
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.practice.history import find_practice
from wellio.values import ZONES

NAME = "create-user"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    password = ask_password() if options.ask_password else None

    async def at_home(outbox: Outbox) -> None:
        new = NewUser(
            email=options.email, name=options.name, role=options.role, client_id=options.client, password=password
        )
        practice = await _practice(outbox.db, options)
        made = await add_user(outbox, Passwords(), practice, new)
        say(f"{made.user.role} {made.user.name} of {practice.name}, {made.user.id}")
        if password is None:
            say(f"logs in with {made.user.email} and {made.password} (shown this once)")

    async def elsewhere(remote: Remote) -> None:
        body = {"email": options.email, "role": options.role.value}
        body |= {"client_id": str(options.client)} if options.client else {}
        made = (await remote.call("POST", "/auth/invitations", body))["data"]
        say(f"Invited {made['email']} as {made['role']}: the link is mailed, and serves until {made['expires_at']}")

    run(NAME, options.url, at_home, elsewhere)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(NAME, "Makes a user. Elsewhere (--url) they are invited by mail and choose name and password.")
    add = parser.add_argument
    add("email")
    add("--name", help="how they are called (needed without --url)")
    add("--role", type=Role, choices=list(Role), default=Role.COACH, help="default: coach")
    add("--practice", metavar="NAME|ID", help="of which practice")
    add("--new-practice", metavar="NAME", help="make that practice, with them as its owner")
    add("--timezone", default="UTC", help="of the new practice, such as Europe/Berlin")
    add("--client", type=UUID, metavar="ID", help="whose log-in it becomes (with --role client)")
    add("--ask-password", action="store_true", help="ask for a password, or read a line; else one is made and shown")
    options = parser.parse_args(arguments)
    if options.url is None and not options.name:
        parser.error("--name is needed")
    if options.url is not None and (options.ask_password or options.new_practice or options.practice):
        parser.error("with --url they choose their password, and the API key says of which practice they are")
    if options.new_practice and (options.practice or options.role is not Role.OWNER):
        parser.error("--new-practice goes with --role owner, and not with --practice")
    if options.timezone not in ZONES:
        parser.error("--timezone is not an IANA time zone, such as Europe/Berlin")
    return options


async def _practice(db: Database, options: argparse.Namespace) -> Practice:
    if options.new_practice:
        return Practice(uuid7(), options.new_practice.strip(), options.timezone, "EUR")
    if not options.practice:
        raise StartupError("Say of which practice: --practice NAME|ID, or --new-practice NAME with --role owner.")
    practice = await find_practice(db, options.practice)
    if practice is None:
        raise StartupError(f"There is no practice {options.practice!r}.")
    return practice
