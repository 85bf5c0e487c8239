"""Invitations: who may invite whom, and what a link is good for."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api import Answer, Api
from tests.factories import House, make_client
from tests.handlers.test_auth import bearer
from tests.handlers.test_password_changes import email_of
from wellio.accounts.actors import Actor
from wellio.accounts.invitations import Offer, mint_invitation

BASE = "/api/v1/auth/invitations"
NEW_COACH = {"email": "Nina.New@example.org", "role": "coach"}
ACCEPTANCE = {"name": "Nina New", "password": "ten thousand small lanterns"}


async def invite(api: Api, actor: Actor, **fields: Any) -> Any:
    return (await api.post(BASE, actor, json=NEW_COACH | fields)).data


async def link(api: Api, invitation_id: str) -> str:
    async with api.db.transaction() as connection:
        minted = await mint_invitation(connection, UUID(invitation_id))
    assert minted is not None
    return minted[0]


async def accept(api: Api, token: str, **fields: Any) -> Answer:
    return await api.post(f"{BASE}/accept", json={"token": token, **ACCEPTANCE, **fields})


async def preview(api: Api, token: str) -> Answer:
    return await api.post(f"{BASE}/preview", json={"token": token})


@pytest.fixture
async def lead(api: Api, house: House) -> UUID:
    """A client of the coach without a log-in."""
    return await make_client(api.db, house.practice, coach=house.coach, first_name="Lea", last_name="Lead")


async def test_invited_coach_sees_by_whom_and_comes_in(api: Api, house: House) -> None:
    invitation = await invite(api, house.owner)
    assert invitation["status"] == "waiting"
    mails = [tuple(row) for row in await api.db.fetch("select kind, recipient, data from mails")]
    assert mails == [("invitation", NEW_COACH["email"], {"invitation_id": invitation["id"]})]
    token = await link(api, invitation["id"])
    offered = (await preview(api, token)).data
    assert offered.pop("expires_at")
    assert offered == {
        "practice_name": "Practice", "email": NEW_COACH["email"], "role": "coach", "invited_by_name": "Olga Owner",
    }  # fmt: skip
    answer = await accept(api, token)
    assert answer.status == 201
    user = answer.data["user"]
    assert (user["role"], user["email"], user["email_verified"]) == ("coach", NEW_COACH["email"], True)
    assert (user["practice_id"], user["timezone"]) == (str(house.practice.id), "Europe/Berlin")
    assert (await api.get("/api/v1/clients", headers=bearer(answer.data["access_token"]))).data == []
    assert (await api.get(BASE, house.owner)).data[0]["status"] == "accepted"


async def test_invited_client_sees_themself_alone(api: Api, house: House, lead: UUID) -> None:
    invitation = await invite(api, house.coach, role="client", client_id=str(lead))
    answer = await accept(api, await link(api, invitation["id"]), timezone="Asia/Tokyo")
    assert answer.data["user"]["timezone"] == "Asia/Tokyo"
    seen = (await api.get("/api/v1/clients", headers=bearer(answer.data["access_token"]))).data
    assert [(c["id"], c["user_id"], c["version"]) for c in seen] == [(str(lead), answer.data["user"]["id"], 2)]
    changed = await api.db.fetchval("select payload from events where type = 'ClientUpdated' and client_id = $1", lead)
    assert changed == {"changed": ["user_id"]}


async def test_fifty_accept_at_once_and_one_comes_in(api: Api, house: House) -> None:
    token = await link(api, (await invite(api, house.owner))["id"])
    answers = await asyncio.gather(*(accept(api, token) for _ in range(50)))
    assert [a.status for a in answers].count(201) == 1
    assert {a.status for a in answers} <= {201, 422, 503}
    assert await api.db.fetchval("select count(*) from users where email = $1", NEW_COACH["email"]) == 1
    assert (await accept(api, token)).code == "LINK_INVALID"


async def test_new_link_ends_the_one_before(api: Api, house: House) -> None:
    invitation = await invite(api, house.owner)
    older = await link(api, invitation["id"])
    assert (await api.post(f"{BASE}/{invitation['id']}/resend", house.owner)).status == 200
    newer = await link(api, invitation["id"])
    assert (await preview(api, older)).code == (await accept(api, older)).code == "LINK_INVALID"
    assert await api.db.fetchval("select count(*) from mails") == 2
    again = await invite(api, house.owner, email=NEW_COACH["email"].upper())
    assert (await preview(api, newer)).code == "LINK_INVALID"
    assert (await preview(api, await link(api, again["id"]))).status == 200


@pytest.mark.parametrize(
    "change",
    [
        "update invitations set expires_at = now() - interval '1 second'",
        "update users set status = 'suspended' where name = 'Olga Owner'",
        "update users set role = 'coach' where name = 'Olga Owner'",
    ],
)
async def test_link_ends_by_time_and_with_who_invited(api: Api, house: House, change: str) -> None:
    token = await link(api, (await invite(api, house.owner))["id"])
    await api.db.execute(change)
    assert (await preview(api, token)).code == (await accept(api, token)).code == "LINK_INVALID"


async def test_withdrawn_invitation_lets_nobody_in_and_makes_no_link(api: Api, house: House) -> None:
    invitation = await invite(api, house.owner)
    token = await link(api, invitation["id"])
    for _ in range(2):
        assert (await api.call("DELETE", f"{BASE}/{invitation['id']}", house.owner)).status == 200
    assert (await accept(api, token)).code == "LINK_INVALID"
    assert (await api.post(f"{BASE}/{invitation['id']}/resend", house.owner)).code == "INVITATION_CLOSED"
    async with api.db.transaction() as connection:
        assert await mint_invitation(connection, UUID(invitation["id"])) is None


async def test_accepted_invitation_is_not_withdrawn(api: Api, house: House) -> None:
    invitation = await invite(api, house.owner)
    await accept(api, await link(api, invitation["id"]))
    answer = await api.call("DELETE", f"{BASE}/{invitation['id']}", house.owner)
    assert (answer.status, answer.code) == (409, "INVITATION_CLOSED")


async def test_inviting_says_nothing_of_accounts_and_accepting_says_what_to_do(api: Api, house: House) -> None:
    taken = await email_of(api, house.client)
    unknown, known = await invite(api, house.owner), await invite(api, house.owner, email=taken)
    own = {"id", "email", "created_at", "expires_at"}
    assert {k: v for k, v in unknown.items() if k not in own} == {k: v for k, v in known.items() if k not in own}
    newest = (await api.get(BASE, house.owner)).data
    token = await link(api, next(i["id"] for i in newest if i["email"] == taken))
    answer = await accept(api, token)
    assert (answer.status, answer.code) == (409, "EMAIL_TAKEN")
    assert "Sign in with it" in answer.body["error"]["message"]
    assert (await preview(api, token)).status == 200


async def test_client_gets_one_log_in(api: Api, house: House, lead: UUID) -> None:
    has_one = await api.post(
        BASE, house.coach, json={"email": "x@example.org", "role": "client", "client_id": str(house.client_id)}
    )
    assert (has_one.status, has_one.code) == (409, "CLIENT_HAS_LOGIN")
    token = await link(api, (await invite(api, house.coach, role="client", client_id=str(lead)))["id"])
    await api.db.execute("update clients set user_id = null where id = $1", house.client_id)
    await api.db.execute("update clients set user_id = $2 where id = $1", lead, house.client.user_id)
    answer = await accept(api, token)
    assert (answer.status, answer.code) == (409, "CLIENT_HAS_LOGIN")
    assert await api.db.fetchval("select count(*) from users where email = $1", NEW_COACH["email"]) == 0


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"role": "client"}, "client_id"),
        ({"role": "coach", "client_id": str(uuid4())}, "client_id"),
        ({"role": "client", "client_id": str(uuid4())}, "client_id"),
        ({"role": "king"}, "role"),
        ({"email": "nobody"}, "email"),
    ],
)
async def test_unacceptable_invitation_names_its_field(
    api: Api, house: House, fields: dict[str, str], path: str
) -> None:
    answer = await api.post(BASE, house.owner, json=NEW_COACH | fields)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert await api.db.fetchval("select count(*) from mails") == 0


async def test_coach_invites_no_staff_and_sees_their_own_invitations(api: Api, house: House, lead: UUID) -> None:
    assert (await api.post(BASE, house.coach, json=NEW_COACH)).status == 403
    await invite(api, house.owner)
    own = await invite(api, house.coach, role="client", client_id=str(lead))
    assert [i["id"] for i in (await api.get(BASE, house.coach)).data] == [own["id"]]
    assert len((await api.get(BASE, house.owner)).data) == 2


async def test_refused_password_leaves_the_link_usable(api: Api, house: House) -> None:
    token = await link(api, (await invite(api, house.owner))["id"])
    assert (await accept(api, token, password="Nina New 2026 Nina")).field_paths == ["password"]
    assert (await accept(api, token)).status == 201


async def test_repeated_invitation_is_made_once(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "one"}
    answers = [await api.post(BASE, house.owner, json=NEW_COACH, headers=headers) for _ in range(2)]
    assert answers[0].raw == answers[1].raw
    assert await api.db.fetchval("select count(*) from mails") == 1


def test_offer_tells_no_ids() -> None:
    assert not [name for name in Offer.__dataclass_fields__ if name.endswith("id")]
