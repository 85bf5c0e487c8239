"""Where people meet online: a session's own address, its coach's link, or a room."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from tests.api import Api
from tests.factories import House, make_house
from tests.handlers.booking import SESSIONS, begin_at
from wellio.config import Config
from wellio.practice.meetings import meeting_url, room_name, rooms_of
from wellio.practice.sessions import get_session

PATH = "/api/v1/meeting-settings"
SECRET = "what the Jitsi server knows, too: 0123456789 abcdefghijkl"


async def about_to_begin(api: Api, house: House, **more: Any) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": "2031-05-05T10:00:00Z", "duration_minutes": 60, **more}
    session = (await api.post(SESSIONS, house.coach, json=new)).data
    await begin_at(api, session, datetime.now(UTC) + timedelta(minutes=5))
    return session


async def address(api: Api, house: House, session: Any) -> str:
    return str((await api.post(f"{SESSIONS}/{session['id']}/join", house.client)).data["meeting_url"])


async def test_sessions_own_address_wins_over_the_coachs_link_and_that_over_rooms(api: Api, house: House) -> None:
    session = await about_to_begin(api, house)
    room = await address(api, house, session)
    assert room.startswith("https://meet.jit.si/wellio-")
    assert await address(api, house, session) == room
    await api.call("PUT", PATH, house.coach, json={"kind": "link", "url": "https://meet.example.org/carl"})
    assert await address(api, house, session) == "https://meet.example.org/carl"
    await api.patch(f"{SESSIONS}/{session['id']}", house.owner, json={"meeting_url": "https://zoom.example.org/1"})
    assert await address(api, house, session) == "https://zoom.example.org/1"


async def test_session_at_a_place_has_no_room(api: Api, house: House) -> None:
    session = await about_to_begin(api, house, location="Room 4")
    joined = (await api.post(f"{SESSIONS}/{session['id']}/join", house.client)).data
    assert (joined["meeting_url"], joined["location"]) == ("", "Room 4")


async def test_room_is_not_guessed_from_the_session(config: Config) -> None:
    rooms, session_id = rooms_of(config), uuid4()
    name = room_name(rooms, session_id)
    assert name == room_name(rooms, session_id) != room_name(rooms, uuid4())
    assert str(session_id).replace("-", "") not in name
    rotated = replace(config, jwt_secret=SECRET)
    assert name != room_name(rooms_of(rotated), session_id)
    # With the key that rooms have had as one of their own, they stay when that of tokens changes.
    kept = replace(rotated, jitsi_room_secret=config.jwt_secret)
    assert name == room_name(rooms_of(kept), session_id)


async def test_token_is_ones_own_for_this_room_and_ends_with_the_session(
    api: Api, config: Config, house: House
) -> None:
    rooms = rooms_of(
        replace(config, jitsi_url="https://jitsi.example.org", jitsi_app_id="wellio", jitsi_app_secret=SECRET)
    )
    booked = await about_to_begin(api, house)
    moderates = {}
    async with api.db.connection() as connection:
        for actor in (house.coach, house.client):
            session = await get_session(connection, actor, booked["id"])
            url = await meeting_url(connection, rooms, actor, session)
            path, token = url.split("?jwt=")
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="wellio", issuer="wellio")
            assert path == f"https://jitsi.example.org/{claims['room']}"
            assert claims["sub"] == "jitsi.example.org"
            assert timedelta(0) < datetime.fromtimestamp(claims["exp"], UTC) - session.ends_at <= timedelta(hours=1)
            user = claims["context"]["user"]
            assert (user["id"], user["name"]) == (str(actor.user_id), actor.name)
            moderates[actor.role] = (user["moderator"], user["affiliation"])
    assert list(moderates.values()) == [("true", "owner"), ("false", "member")]


async def test_coach_sets_their_own_and_an_owner_anybodys(api: Api, house: House) -> None:
    link = {"kind": "link", "url": "https://meet.example.org/carl"}
    unset = (await api.get(PATH, house.coach)).data
    assert unset == {"coach_id": str(house.coach.user_id), "kind": "jitsi", "url": ""}
    one = f"{PATH}/{house.coach.user_id}"
    assert (await api.call("PUT", one, house.owner, json=link)).data == unset | link
    assert (await api.get(PATH, house.coach)).data == unset | link
    assert (await api.call("PUT", one, house.other_coach, json=link)).status == 404
    foreign = await make_house(api.db, "Other practice")
    assert (await api.get(one, foreign.owner)).status == 404
    assert (await api.call("PUT", PATH, house.coach, json={"kind": "jitsi"})).data == unset


async def test_link_without_an_address_is_refused(api: Api, house: House) -> None:
    for body in ({"kind": "link"}, {"kind": "jitsi", "url": "https://x.example"}, {"kind": "link", "url": "ftp://x"}):
        assert (await api.call("PUT", PATH, house.coach, json=body)).status == 422
