"""/api/v1/uploads"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar
from urllib.parse import quote

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from wellio.errors import Invalid, Malformed, TooLarge, UnsupportedMedia
from wellio.handlers.routes import Call, NoInput, Route, StoredFile
from wellio.practice.file_types import MAX_DOCUMENT_BYTES
from wellio.practice.uploads import Upload, delete_upload, get_upload, store_upload
from wellio.services import SERVICES

# Of the form around the file.
MAX_FORM_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024
UPLOAD_TIMEOUT_S = 300.0
CACHE_S = 3600

Read = TypeVar("Read")


async def post_upload(call: Call[NoInput, NoInput]) -> Upload:
    """Upload a file: multipart/form-data with one part, `file`.

    What it is, its bytes say. Pictures may have 10 MiB; PDF, docx, xlsx and pptx 25 MiB.
    """
    services, request = call.services, call.request
    if request.content_type != "multipart/form-data":
        raise UnsupportedMedia("Send the file as multipart/form-data, in a part named file.")
    if (request.content_length or 0) > MAX_DOCUMENT_BYTES + MAX_FORM_BYTES:
        raise TooLarge(f"No file may have more than {MAX_DOCUMENT_BYTES} bytes.")
    form = await request.multipart()
    part = await _read(request, form.next())
    if not isinstance(part, BodyPartReader) or part.name != "file" or not part.filename:
        raise Invalid.field("file", "Send one part named file, with a filename.")
    chunks = _chunks(request, form, part)
    return await store_upload(services.outbox, services.uploads, call.actor, part.filename, chunks)


async def _chunks(request: web.Request, form: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await _read(request, part.read_chunk(CHUNK_BYTES)):
        yield chunk
    if await _read(request, form.next()) is not None:
        raise Invalid.field("file", "Send one part only.")


async def _read(request: web.Request, reading: Awaitable[Read]) -> Read:
    """Raises Malformed for what does not come, and for what aiohttp's reader raises for a form that is none."""
    try:
        async with asyncio.timeout(request.app[SERVICES].http.body_s):
            return await reading
    except TimeoutError:
        raise Malformed("The body did not arrive in time.", code="BODY_TIMEOUT") from None
    except (ValueError, AssertionError, RuntimeError, BadHttpMessage) as error:
        raise Malformed("The form can't be read to its end.") from error


async def get_upload_by_id(call: Call[NoInput, NoInput]) -> Upload:
    """One upload: one's own, or an attachment in a conversation of one's own."""
    return await get_upload(call.services.db, call.actor, call.ids["upload_id"])


async def get_upload_content(call: Call[NoInput, NoInput]) -> StoredFile:
    """The file itself, for saving. Ranges are served."""
    upload = await get_upload(call.services.db, call.actor, call.ids["upload_id"])
    headers = {
        "Content-Type": upload.content_type,
        "Content-Disposition": f"attachment; filename=\"file\"; filename*=UTF-8''{quote(upload.name, safe='')}",
        "Cache-Control": f"private, max-age={CACHE_S}",
    }
    return StoredFile(call.services.uploads.path(upload.id), headers, user_id=upload.uploader_id)


async def delete_upload_by_id(call: Call[NoInput, NoInput]) -> None:
    """Delete an upload of one's own that is not attached."""
    await delete_upload(call.services.outbox, call.services.uploads, call.actor, call.ids["upload_id"])


BASE = "/api/v1/uploads"
ONE = f"{BASE}/{{upload_id}}"
ROUTES = (
    Route(
        method="POST", path=BASE, handler=post_upload, tag="uploads", answer=Upload, status=201,
        multipart=True, takes_s=UPLOAD_TIMEOUT_S, limit="uploads",
    ),
    Route(method="GET", path=ONE, handler=get_upload_by_id, tag="uploads", answer=Upload, reads=True),
    Route(
        method="GET", path=f"{ONE}/content", handler=get_upload_content, tag="uploads",
        answer=StoredFile, media="application/octet-stream", reads=True,
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_upload_by_id, tag="uploads", answer=None, errors=(409,),
    ),
)  # fmt: skip
