"""Notes on a session: for staff alone, sealed, and nowhere else."""

from datetime import UTC, datetime
from typing import Any

from tests.api import Api
from tests.factories import House
from tests.handlers.booking import HOUR, SESSIONS, begin_at, change
from wellio.resealing import SEALED

TEXT = "Sleeps badly since the move."


async def over(api: Api, house: House) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": "2031-05-05T10:00:00Z", "duration_minutes": 60}
    session = (await api.post(SESSIONS, house.coach, json=new)).data
    await begin_at(api, session, datetime.now(UTC) - 2 * HOUR)
    return session


async def test_session_is_completed_with_notes_for_staff_alone(api: Api, house: House) -> None:
    session = await over(api, house)
    completed = await change(api, house.coach, session, status="completed", notes=TEXT)
    assert (completed.data["status"], "notes" in completed.data) == ("completed", False)
    path = f"{SESSIONS}/{session['id']}/notes"
    for actor in (house.coach, house.owner):
        assert (await api.get(path, actor)).data["text"] == TEXT
    assert (await api.get(path, house.client)).status == 403
    assert (await api.get(path, house.other_coach)).status == 404


async def test_notes_are_edited_and_a_lost_update_is_refused(api: Api, house: House) -> None:
    session = await over(api, house)
    path = f"{SESSIONS}/{session['id']}/notes"
    read = await api.get(path, house.coach)
    assert read.data["text"] == ""
    match = {"If-Match": read.headers["ETag"]}
    assert (await api.call("PUT", path, house.coach, json={"text": TEXT}, headers=match)).data["text"] == TEXT
    assert (await api.call("PUT", path, house.coach, json={"text": "x"}, headers=match)).status == 412
    await change(api, house.coach, session, status="completed")
    assert (await api.get(path, house.coach)).data["text"] == TEXT
    await change(api, house.coach, session, status="completed", notes="More.")
    assert (await api.get(path, house.coach)).data["text"] == "More."
    assert (await api.call("PUT", path, house.coach, json={"text": ""})).data["text"] == ""


async def test_notes_go_with_completing_only(api: Api, house: House) -> None:
    session = await over(api, house)
    for body in ({"notes": TEXT}, {"status": "no_show", "notes": TEXT}):
        assert (await change(api, house.coach, session, **body)).field_paths == ["notes"]


async def test_notes_lie_sealed_and_in_no_event_or_audit_row(api: Api, house: House) -> None:
    session = await over(api, house)
    await change(api, house.coach, session, status="completed", notes=TEXT)
    await api.call("PUT", f"{SESSIONS}/{session['id']}/notes", house.coach, json={"text": TEXT + "!"})
    stored = await api.db.fetchval("select notes from sessions where id = $1::text::uuid", session["id"])
    assert TEXT.encode() not in stored
    everything = await api.db.fetchval(
        "select (select string_agg(e::text, '') from events e) || (select string_agg(a::text, '') from audit_log a)"
    )
    assert "Sleeps" not in everything
    assert "sessions.notes" in {column.name for column in SEALED}
