"""`bin/revoke-sessions`: signs out a user, a practice, or everybody."""

from collections.abc import Sequence

from wellio.accounts.operators import sign_out_practice, sign_out_user
from wellio.commands.remote import Remote
from wellio.commands.run import make_parser, run, say
from wellio.errors import StartupError
from wellio.outbox import Outbox
from wellio.practice.history import find_practice

NAME = "revoke-sessions"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(NAME, "Signs a user out on all devices; calls end at once, sockets within two seconds.")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("email", nargs="?", help="of the user")
    who.add_argument("--practice", metavar="NAME|ID", help="everybody of that practice")
    who.add_argument("--everybody", action="store_true", help="everybody, in all practices")
    options = parser.parse_args(arguments)
    if options.url is not None and not options.email:
        parser.error("with --url users are signed out one by one")

    async def at_home(outbox: Outbox) -> None:
        if options.email:
            user = await sign_out_user(outbox, options.email)
            say(f"{user.name} is signed out everywhere.")
            return
        practice = await find_practice(outbox.db, options.practice) if options.practice else None
        if options.practice and practice is None:
            raise StartupError(f"There is no practice {options.practice!r}.")
        count = await sign_out_practice(outbox, practice.id if practice else None)
        say(f"{count} devices are signed out.")

    async def elsewhere(remote: Remote) -> None:
        user = await remote.find_user(options.email)
        await remote.call("POST", f"/users/{user['id']}/logout-all")
        say(f"{user['name']} is signed out everywhere.")

    run(NAME, options.url, at_home, elsewhere)
