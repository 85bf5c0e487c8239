"""bin/create-user, bin/reset-password, bin/revoke-sessions: as operators start them."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api import Api
from tests.conftest import SECRET
from tests.factories import House, make_client, sign_in
from tests.handlers.test_password_changes import email_of, logs_in
from wellio.config import ROOT
from wellio.db import Database

ME = "/api/v1/auth/me"
NEW = "ten thousand small lanterns"


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Commands:
    database_url: str

    async def run(self, name: str, *arguments: str, given: str = "", key: str = "") -> Ran:
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.database_url,
            "REDIS_URL": "redis://127.0.0.1:1",
            "JWT_SECRET": SECRET,
            "WELLIO_API_KEY": key,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "bin" / name), *arguments, env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(given.encode())
        return Ran(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
def commands(database_url: str) -> Commands:
    return Commands(database_url)


async def audited(db: Database, action: str) -> Any:
    rows = await db.fetch("select practice_id, subject_id, outcome from audit_log where action = $1", action)
    return [tuple(row) for row in rows]


async def test_first_owner_is_made_with_their_practice_and_logs_in(api: Api, commands: Commands) -> None:
    ran = await commands.run(
        "create-user", "olga@example.org", "--name", "Olga", "--role", "owner", "--new-practice", "Northside",
        "--timezone", "Europe/Berlin",
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    shown = re.search(r"logs in with olga@example.org and (\S+)", ran.out)
    assert shown
    login = await api.post("/api/v1/auth/login", json={"email": "olga@example.org", "password": shown[1]})
    assert (login.data["user"]["role"], login.data["user"]["email_verified"]) == ("owner", True)
    practice_id = await api.db.fetchval("select id from practices where name = 'Northside'")
    user_id = await api.db.fetchval("select id from users")
    assert await audited(api.db, "bin/create-user") == [(practice_id, user_id, "done")]


async def test_user_of_a_practice_is_made_with_the_password_that_is_given(
    api: Api, commands: Commands, house: House
) -> None:
    lead = await make_client(api.db, house.practice, coach=house.coach)
    ran = await commands.run(
        "create-user", "lea@example.org", "--name", "Lea Lead", "--role", "client", "--client", str(lead),
        "--practice", str(house.practice.id), "--ask-password", given=f"{NEW}\n",
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    assert NEW not in ran.out
    login = await api.post("/api/v1/auth/login", json={"email": "lea@example.org", "password": NEW})
    assert login.status == 200
    linked = await api.db.fetchval("select user_id::text from clients where id = $1", lead)
    assert linked == login.data["user"]["id"]


async def test_operator_sets_a_password_or_has_a_link_mailed(api: Api, commands: Commands, house: House) -> None:
    email = await email_of(api, house.coach)
    mailed = await commands.run("reset-password", email.upper(), "--mail")
    assert mailed.status == 0
    assert (await api.get(ME, house.coach)).status == 200
    ran = await commands.run("reset-password", email, "--ask-password", given=f"{NEW}\n")
    assert (ran.status, ran.err) == (0, "")
    assert (await api.get(ME, house.coach)).status == 401
    assert await logs_in(api, house.coach, NEW)
    kinds = await api.db.fetch("select kind from mails order by id")
    assert [row["kind"] for row in kinds] == ["password_reset", "password_changed"]
    assert len(await audited(api.db, "bin/reset-password")) == 2


async def test_operator_signs_out_one_a_practice_or_all(api: Api, commands: Commands, house: House) -> None:
    assert (await commands.run("revoke-sessions", await email_of(api, house.coach))).status == 0
    assert (await api.get(ME, house.coach)).status == 401
    assert (await api.get(ME, house.client)).status == 200
    for argument in (["--practice", "Practice"], ["--everybody"]):
        actor = await sign_in(api.db, house.client)
        ran = await commands.run("revoke-sessions", *argument)
        assert re.match(r"\d devices are signed out", ran.out)
        assert (await api.get(ME, actor)).status == 401
    assert len(await audited(api.db, "bin/revoke-sessions")) == 3


async def test_elsewhere_users_are_invited_reset_by_mail_and_signed_out(
    api: Api, commands: Commands, house: House
) -> None:
    elsewhere = {"key": api.token(house.owner)}
    email = await email_of(api, house.coach)
    invited = await commands.run("create-user", "nina@example.org", "--url", api.url, **elsewhere)
    assert (invited.status, invited.err) == (0, "")
    assert await api.db.fetchval("select email from invitations") == "nina@example.org"
    assert (await commands.run("reset-password", email, "--url", api.url, **elsewhere)).status == 0
    assert await api.db.fetchval("select recipient from mails where kind = 'password_reset'") == email
    out = await commands.run("revoke-sessions", email, "--url", api.url, **elsewhere)
    assert (out.status, out.out) == (0, "Carl Coach is signed out everywhere.\n")
    assert (await api.get(ME, house.coach)).status == 401
    assert (await api.get(ME, house.owner)).status == 200


REFUSED = {
    "create-user a@example.org --name A --practice Nowhere": "There is no practice 'Nowhere'.",
    "create-user a@example.org --name A": "Say of which practice",
    "create-user nonsense --name A --practice Practice": "email: ",
    "create-user {taken} --name A --practice Practice": "An account with this e-mail address exists already.",
    "create-user a@example.org --name A --practice Practice --role client": "The role client, and only that",
    "create-user a@example.org --name A --practice Practice --ask-password": "Use at least 15 characters",
    "reset-password nobody@example.org": "Nobody has the address nobody@example.org.",
    "reset-password {taken} --ask-password": "Use at least 15 characters",
    "revoke-sessions nobody@example.org": "Nobody has the address nobody@example.org.",
    "revoke-sessions --practice Nowhere": "There is no practice 'Nowhere'.",
    "revoke-sessions a@example.org --url http://wellio.example.com": "https:// alone",
    "revoke-sessions a@example.org --url http://localhost:1": "Set WELLIO_API_KEY",
}


async def test_what_can_not_be_done_is_said_in_a_line_and_does_nothing(
    db: Database, commands: Commands, house: House
) -> None:
    taken = await db.fetchval("select email from users where id = $1", house.client.user_id)
    for command, said in REFUSED.items():
        name, *arguments = command.format(taken=taken).split()
        ran = await commands.run(name, *arguments)
        assert (ran.status, ran.out) == (1, ""), command
        assert said in ran.err
        assert ran.err.startswith(f"{name}: ")
        assert len(ran.err.splitlines()) == 1
        assert await audited(db, f"bin/{name}") == []
    assert await db.fetchval("select count(*) from users") == 5


async def test_refusals_of_a_wellio_elsewhere_are_told(api: Api, commands: Commands, house: House) -> None:
    for key, arguments, said in (
        ("not a token", ["revoke-sessions", "a@example.org"], "The access token is not valid"),
        (api.token(house.client), ["revoke-sessions", "a@example.org"], "This needs the role"),
        (api.token(house.owner), ["revoke-sessions", "a@example.org"], "Nobody whom this API key may see"),
        (api.token(house.owner), ["create-user", "nonsense"], "email: Is not an e-mail address"),
    ):
        ran = await commands.run(*arguments, "--url", api.url, key=key)
        assert (ran.status, ran.out) == (1, "")
        assert said in ran.err
        assert key not in ran.err
    ran = await commands.run("reset-password", "a@example.org", "--url", "http://127.0.0.1:1", key="k")
    assert (ran.status, len(ran.err.splitlines())) == (1, 1)


async def test_command_tells_how_it_is_used(commands: Commands) -> None:
    ran = await commands.run("revoke-sessions", "--help")
    assert ran.status == 0
    assert "--url" in ran.out
    assert (await commands.run("revoke-sessions")).status == 2
