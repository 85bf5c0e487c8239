"""`bin/reset-password`: a new password at home, or a mailed link to set one."""

from collections.abc import Sequence

from wellio.accounts.operators import mail_reset_link, set_password
from wellio.accounts.passwords import Passwords
from wellio.commands.remote import Remote
from wellio.commands.run import ask_password, make_parser, run, say
from wellio.outbox import Outbox

NAME = "reset-password"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(NAME, "Gives a user a new password, and signs them out everywhere.")
    parser.add_argument("email")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--mail", action="store_true", help="mail them a link instead (always so with --url)")
    way.add_argument(
        "--ask-password", action="store_true", help="ask for a password, or read a line; else one is made and shown"
    )
    options = parser.parse_args(arguments)
    if options.url is not None and options.ask_password:
        parser.error("with --url they set their password by the link that is mailed")
    password = ask_password() if options.ask_password else None

    async def at_home(outbox: Outbox) -> None:
        if options.mail:
            await mail_reset_link(outbox, options.email)
            say(f"A link is mailed to {options.email} as soon as Wellio runs; it serves for 30 minutes.")
            return
        made = await set_password(outbox, Passwords(), options.email, password)
        shown = "the password you gave" if password else f"{made.password} (shown this once)"
        say(f"{made.user.name} is signed out everywhere, and logs in with {shown}")

    async def elsewhere(remote: Remote) -> None:
        await remote.call("POST", "/auth/password-reset", {"email": options.email})
        say(f"If {options.email} has an account there, a link is on its way; it serves for 30 minutes.")

    run(NAME, options.url, at_home, elsewhere)
