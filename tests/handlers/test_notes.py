"""Notes of staff on a client."""

from typing import Any

import pytest

from tests.api import Api
from tests.factories import House
from wellio.db import Database
from wellio.practice.notes import COLUMN
from wellio.resealing import reseal
from wellio.sealing import Sealer

SECRET = "Fainted during the second set"


def notes_of(house: House) -> str:
    return f"/api/v1/clients/{house.client_id}/notes"


async def write(api: Api, house: House, body: str = SECRET, **more: Any) -> Any:
    return (await api.post(notes_of(house), house.coach, json={"body": body, **more})).data


async def test_note_is_read_back_by_staff_and_stored_sealed(api: Api, house: House, db: Database) -> None:
    note = await write(api, house)
    assert (note["body"], note["author_name"], note["version"]) == (SECRET, "Carl Coach", 1)
    assert (await api.get(notes_of(house), house.owner)).data == [note]
    stored = await db.fetchval("select body from client_notes")
    assert SECRET.encode() not in stored
    key, new = {"Idempotency-Key": "once"}, {"body": SECRET}
    first, again = [await api.post(notes_of(house), house.coach, json=new, headers=key) for _ in range(2)]
    assert (again.status, again.data, again.headers["Idempotent-Replayed"]) == (201, first.data, "true")
    assert SECRET.encode() not in await db.fetchval("select answer from idempotency_keys")
    everything = await db.fetch(
        "select payload::text as text from events union all select details::text from audit_log"
    )
    assert not any("Fainted" in row["text"] for row in everything)


async def test_client_never_sees_notes(api: Api, house: House) -> None:
    note = await write(api, house)
    assert (await api.get(notes_of(house), house.client)).status == 403
    seen = await api.get(f"/api/v1/clients/{house.client_id}/timeline", house.client)
    assert note["id"].encode() not in seen.raw


async def test_pinned_notes_come_first_then_the_newest(api: Api, house: House) -> None:
    ids = [(await write(api, house, f"Note {n}"))["id"] for n in range(3)]
    pinned = await api.patch(f"{notes_of(house)}/{ids[0]}", house.owner, json={"pinned": True})
    assert (pinned.data["pinned"], pinned.data["body"], pinned.data["version"]) == (True, "Note 0", 2)
    listed = (await api.get(notes_of(house), house.coach)).data
    assert [n["id"] for n in listed] == [ids[0], ids[2], ids[1]]


async def test_second_editor_of_a_note_is_told(api: Api, house: House) -> None:
    note = await write(api, house)
    url = f"{notes_of(house)}/{note['id']}"
    changed = await api.patch(url, house.coach, json={"body": "Better"}, headers={"If-Match": '"1"'})
    assert (changed.data["body"], changed.headers["ETag"]) == ("Better", '"2"')
    late = await api.patch(url, house.coach, json={"body": "Worse"}, headers={"If-Match": '"1"'})
    assert (late.status, late.code) == (412, "VERSION_MISMATCH")


async def test_words_are_their_authors(api: Api, house: House) -> None:
    note = await write(api, house)
    url = f"{notes_of(house)}/{note['id']}"
    assert (await api.patch(url, house.owner, json={"body": "Other words"})).status == 403
    of_owner = (await api.post(notes_of(house), house.owner, json={"body": "Mine"})).data
    assert (await api.call("DELETE", f"{notes_of(house)}/{of_owner['id']}", house.coach)).status == 403
    assert (await api.call("DELETE", url, house.owner)).status == 200
    assert [n["id"] for n in (await api.get(notes_of(house), house.coach)).data] == [of_owner["id"]]


@pytest.mark.parametrize(
    ("changes", "path"), [({"body": " \n"}, "body"), ({"body": None}, "body"), ({"pinned": 1}, "pinned")]
)
async def test_empty_notes_are_refused(api: Api, house: House, changes: Any, path: str) -> None:
    note = await write(api, house)
    assert (await api.patch(f"{notes_of(house)}/{note['id']}", house.coach, json=changes)).field_paths == [path]


async def test_note_of_one_client_is_not_found_with_another(api: Api, house: House) -> None:
    note = await write(api, house)
    url = f"/api/v1/clients/{house.other_client_id}/notes/{note['id']}"
    assert (await api.patch(url, house.owner, json={"pinned": True})).status == 404


async def test_notes_are_sealed_anew_with_another_key(api: Api, house: House, db: Database) -> None:
    note = await write(api, house)
    old = bytes(range(32))
    await reseal(db, Sealer({"k2": bytes(32), "k1": old}))
    row = await db.fetchrow("select id, body from client_notes")
    assert row is not None
    assert Sealer({"k2": bytes(32)}).unseal(row["body"], column=COLUMN, row_id=row["id"]) == SECRET.encode()
    (lost,) = (await api.get(notes_of(house), house.coach)).data  # the server knows the old key only
    assert lost == note | {"body": None}
