"""/api/v1/clients/{client_id}/notes"""

from uuid import UUID

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.notes import NewNote, Note, NoteChanges, change_note, delete_note, get_note, list_notes, write_note


async def list_notes_page(call: Call[NoInput, PageQuery]) -> Page[Note]:
    """The notes that staff keep on a client: pinned ones first, then the newest."""
    return await list_notes(call.services.db, call.services.sealer, call.actor, call.ids["client_id"], call.query)


async def post_note(call: Call[NewNote, NoInput]) -> Note:
    """Write one."""
    services = call.services
    return await write_note(
        services.outbox, services.sealer, call.actor, call.ids["client_id"], call.body, once=call.once
    )


async def _note_again(call: Call[NewNote, NoInput], note_id: UUID) -> Note:
    services = call.services
    return await get_note(services.db, services.sealer, call.actor, call.ids["client_id"], note_id)


async def patch_note(call: Call[NoteChanges, NoInput]) -> Note:
    """Change what it says, as its author, or pin it."""
    services, ids = call.services, call.ids
    return await change_note(
        services.outbox, services.sealer, call.actor, ids["client_id"], ids["note_id"], call.body,
        if_version=call.if_version,
    )  # fmt: skip


async def delete_note_by_id(call: Call[NoInput, NoInput]) -> None:
    """Delete one, as its author or an owner."""
    services, ids = call.services, call.ids
    await delete_note(services.outbox, services.sealer, call.actor, ids["client_id"], ids["note_id"])


BASE = "/api/v1/clients/{client_id}/notes"
ONE = f"{BASE}/{{note_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_notes_page, tag="notes", roles=STAFF, query=PageQuery,
        answer=Page[Note], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_note, tag="notes", roles=STAFF, body=NewNote, answer=Note,
        status=201, creates=True, again=_note_again,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_note, tag="notes", roles=STAFF, body=NoteChanges, answer=Note,
        errors=(412,),
    ),
    Route(method="DELETE", path=ONE, handler=delete_note_by_id, tag="notes", roles=STAFF, answer=None),
)  # fmt: skip
