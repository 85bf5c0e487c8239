"""/api/v1/blocks"""

from wellio.chat.blocks import Block, block_person, list_blocks, unblock_person
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def list_blocks_page(call: Call[NoInput, PageQuery]) -> Page[Block]:
    """Whom the caller has blocked."""
    return await list_blocks(call.services.db, call.actor, call.query)


async def put_block(call: Call[NoInput, NoInput]) -> Block:
    """Block somebody: nothing is sent between the two in their direct conversation."""
    return await block_person(call.services.outbox, call.services.live, call.actor, call.ids["person_id"])


async def delete_block(call: Call[NoInput, NoInput]) -> None:
    """Unblock somebody."""
    await unblock_person(call.services.outbox, call.services.live, call.actor, call.ids["person_id"])


BASE = "/api/v1/blocks"
ONE = f"{BASE}/{{person_id}}"
ROUTES = (
    Route(method="GET", path=BASE, handler=list_blocks_page, tag="blocks", query=PageQuery, answer=Page[Block]),
    Route(method="PUT", path=ONE, handler=put_block, tag="blocks", answer=Block),
    Route(method="DELETE", path=ONE, handler=delete_block, tag="blocks", answer=None),
)  # fmt: skip
