"""Uploads: what is taken, how it is served, who sees it, and that nothing is left of what failed."""

import asyncio
import hashlib
import io
import zipfile
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from tests.api import Answer, Api
from tests.factories import House, make_house
from tests.realtime.conftest import open_conversation
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.config import Config
from wellio.jobs.remove_uploads import remove_uploads
from wellio.jobs.work import Work
from wellio.outbox import Outbox
from wellio.practice.file_types import MAX_IMAGE_BYTES, MIB
from wellio.practice.upload_files import uploads_in

UPLOADS = "/api/v1/uploads"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 5000
POLYGLOT = b"GIF89a/*" + b"\0" * 40 + b"*/=1;<script>alert(1)</script>"


def office(part: str, *more: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as package:
        for name in ("[Content_Types].xml", part, *more):
            package.writestr(name, "x")
    return made.getvalue()


async def upload(api: Api, actor: Actor, content: bytes, name: str = "photo.png", field: str = "file") -> Answer:
    form = aiohttp.FormData(quote_fields=False)  # as browsers send names
    form.add_field(field, content, filename=name, content_type="text/html")
    return await api.call("POST", UPLOADS, actor, data=form)


def files_in(config: Config) -> list[Path]:
    return [path for path in (config.data_dir / "uploads").rglob("*") if path.is_file()]


async def test_upload_is_what_its_bytes_say_and_is_given_back_for_saving_in_parts_too(api: Api, house: House) -> None:
    made = await upload(api, house.coach, PNG, "../..\\x/My\u202e plan.html")
    assert made.status == 201
    data = made.data
    assert (data["name"], data["content_type"], data["size_bytes"]) == ("My plan.html.png", "image/png", len(PNG))
    assert data["sha256"] == hashlib.sha256(PNG).hexdigest()
    path = f"{UPLOADS}/{data['id']}"
    assert (await api.get(path, house.coach)).data == data
    content = await api.get(f"{path}/content", house.coach)
    assert (content.status, content.raw, content.headers["Content-Type"]) == (200, PNG, "image/png")
    assert content.headers["Content-Disposition"].startswith("attachment;")
    assert content.headers["X-Content-Type-Options"] == "nosniff"
    assert content.headers["Cache-Control"].startswith("private")
    part = await api.get(f"{path}/content", house.coach, headers={"Range": "bytes=1-3"})
    assert (part.status, part.raw) == (206, b"PNG")


@pytest.mark.parametrize(
    ("content", "name", "taken"),
    [
        (b"\xff\xd8\xff\xe1\0\x10Exif\0" + b"\0" * 99, "a.jpg", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 99, "a", "image/webp"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "a.heic", "image/heif"),
        (b"%PDF-1.7\n" + b"x" * 99, "a.pdf", "application/pdf"),
        (office("word/document.xml"), "a.docx", "wordprocessingml.document"),
        (office("xl/workbook.xml"), "a.xlsx", "spreadsheetml.sheet"),
        (POLYGLOT, "a.html", "image/gif"),
        (office("word/document.xml", "word/vbaProject.bin"), "a.docm", None),
        (office("x.html"), "a.zip", None),
        (b"<!DOCTYPE html><script>alert(1)</script>", "a.png", None),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">', "a.png", None),
        (b'<?xml version="1.0"?><svg>', "a.png", None),
        (b"#!/bin/sh\nrm -rf /", "a.pdf", None),
        (b"MZ" + b"\0" * 99, "a.pdf", None),
        (b"alert(1)", "a.js", None),
    ],
)
async def test_types_that_are_taken(
    api: Api, house: House, config: Config, content: bytes, name: str, taken: str | None
) -> None:
    made = await upload(api, house.client, content, name)
    if taken is None:
        assert (made.status, files_in(config)) == (415, [])
        assert await api.db.fetchval("select count(*) from uploads") == 0
    else:
        assert made.data["content_type"].endswith(taken)
        served = await api.get(f"{UPLOADS}/{made.data['id']}/content", house.client)
        assert served.headers["Content-Disposition"].startswith("attachment;")
        assert not made.data["name"].endswith((".html", ".svg", ".js"))


async def begin_upload(api: Api, actor: Actor, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which an upload has begun, of a form of `length` bytes."""
    form = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    head = (
        f"POST {UPLOADS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token(actor)}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*api.url.removeprefix("http://").split(":"))
    writer.write(f"{head}{form}".encode() + PNG + b"x" * MIB)
    await writer.drain()
    return reader, writer


async def nothing_is_left(api: Api, config: Config) -> bool:
    return not files_in(config) and await api.db.fetchval("select count(*) from uploads") == 0


async def test_too_large_is_refused_before_the_rest_is_read_and_nothing_is_left(
    api: Api, house: House, config: Config
) -> None:
    reader, writer = await begin_upload(api, house.coach, 20 * MIB)
    writer.write(b"x" * MAX_IMAGE_BYTES)  # and not the rest
    answer = await reader.readuntil(b"}}")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert await nothing_is_left(api, config)


async def test_forms_that_are_no_upload_are_refused(api: Api, house: House, config: Config) -> None:
    assert (await upload(api, house.coach, PNG, field="picture")).status == 422
    assert (await upload(api, house.coach, b"")).status == 422
    assert (await api.post(UPLOADS, house.coach, {"file": "x"})).status == 415
    two = aiohttp.FormData()
    two.add_field("file", PNG, filename="a.png")
    two.add_field("more", "x")
    assert (await api.call("POST", UPLOADS, house.coach, data=two)).status == 422
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"", b"--b", b"--x\r\n\r\n", b"no form"):
        answer = await api.call("POST", UPLOADS, house.coach, data=body, headers=headers)
        assert answer.status in (400, 422), body
    assert files_in(config) == []


async def test_connection_that_breaks_leaves_nothing(api: Api, house: House, config: Config) -> None:
    _, writer = await begin_upload(api, house.coach, 5 * MIB)
    await eventually(lambda: files_in(config))
    writer.transport.abort()
    await eventually(lambda: nothing_is_left(api, config))


async def test_upload_is_its_uploaders_until_it_is_attached_and_then_its_conversations(
    api: Api, house: House, config: Config
) -> None:
    foreign = await make_house(api.db, "Other")
    conversation_id = await open_conversation(api.db, house.coach, house.client)
    ids = [(await upload(api, house.coach, PNG)).data["id"] for _ in range(2)]
    strangers = (house.owner, house.other_coach, house.other_client, foreign.owner)

    async def statuses(upload_id: str, actor: Actor) -> set[int]:
        path = f"{UPLOADS}/{upload_id}"
        return {(await api.get(p, actor)).status for p in (path, f"{path}/content")}

    for actor in (house.client, *strangers):
        assert await statuses(ids[0], actor) == {404}
        assert (await api.call("DELETE", f"{UPLOADS}/{ids[0]}", actor)).status == 404
    body = {"conversation_id": str(conversation_id), "body": "", "upload_ids": [ids[0]]}
    message = (await api.post("/api/v1/messages", house.coach, body)).data
    assert [a["id"] for a in message["attachments"]] == [ids[0]]
    assert await statuses(ids[0], house.client) == {200}
    for actor in strangers:
        assert await statuses(ids[0], actor) == {404}
    assert (await api.call("DELETE", f"{UPLOADS}/{ids[0]}", house.coach)).code == "UPLOAD_ATTACHED"
    assert (await api.call("DELETE", f"{UPLOADS}/{ids[0]}", house.client)).status == 404
    assert (await api.call("DELETE", f"{UPLOADS}/{ids[1]}", house.coach)).status == 200
    assert [path.name for path in files_in(config)] == [ids[0]]
    await api.call("DELETE", f"/api/v1/messages/{message['id']}", house.coach)
    assert await statuses(ids[0], house.coach) == {404}


async def test_job_removes_what_nothing_needs_and_only_that(api: Api, house: House, config: Config) -> None:
    conversation_id = await open_conversation(api.db, house.coach, house.client)
    kept, attached, loose, erased = [(await upload(api, house.coach, PNG)).data["id"] for _ in range(4)]
    body = {"conversation_id": str(conversation_id), "body": "See"}
    await api.post("/api/v1/messages", house.coach, body | {"upload_ids": [attached]})
    gone = (await api.post("/api/v1/messages", house.coach, body | {"upload_ids": [erased]})).data["id"]
    await api.call("DELETE", f"/api/v1/messages/{gone}", house.coach)
    await api.db.execute(
        "update uploads set created_at = now() - interval '25 hours' where id = any($1::uuid[])",
        [UUID(attached), UUID(loose)],
    )
    work = Work(Outbox(api.db), files=uploads_in(config.data_dir))
    assert await remove_uploads(work) == {"uploads": 2}
    assert {path.name for path in files_in(config)} == {kept, attached}
    # killed between the row and its end: the row is there, and maybe the file
    await api.db.execute("update uploads set state = 'arriving', created_at = now() - interval '2 hours'"
                         " where id = $1", UUID(kept))  # fmt: skip
    assert await remove_uploads(work) == {"uploads": 1}
    assert await remove_uploads(work) == {"uploads": 0}
    assert {path.name for path in files_in(config)} == {attached}
