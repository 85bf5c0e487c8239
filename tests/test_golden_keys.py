"""Which fields each role is shown, operation by operation, as `golden_keys.json` says (Z-05).

A new field has to be written down there, for each role that shall see it: then somebody has thought of who sees it.
`WELLIO_WRITE_GOLDEN=1 bin/test tests/test_golden_keys.py` writes the file; read the difference before you commit it.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api import Api
from tests.factories import make_house
from tests.test_authorization import make_scene
from wellio.db import Database
from wellio.handlers.routes import File, StoredFile, Stream
from wellio.handlers.table import ROUTES

FILE = Path(__file__).parent / "golden_keys.json"
ROLES = ("owner", "coach", "client")
NEVER = re.compile(r"hash|secret|password|token|buffer.*client|override_reason|totp")
READS = [
    route
    for route in ROUTES
    if route.method == "GET" and route.roles is not None and route.answer not in (File, StoredFile, Stream)
]


def keys_of(data: Any, path: str = "") -> Iterator[str]:
    """`members[].name` of {"members": [{"name": …}]}; what is keyed by ids or names counts as one."""
    if isinstance(data, dict):
        for key, value in data.items():
            name = "*" if re.fullmatch(r"[0-9a-f-]{36}", key) else key
            yield from keys_of(value, f"{path}.{name}" if path else name)
    elif isinstance(data, list) and data:
        for item in data:
            yield from keys_of(item, f"{path}[]")
    else:
        yield path


async def test_each_role_is_shown_what_is_written_down(api: Api, db: Database) -> None:
    scene = await make_scene(db, await make_house(db), await make_house(db, "Other practice"))
    await db.execute(
        "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
        " values ($1, $2, 0.5, 'medium', 'ok', 30, now())",
        scene.house.practice.id, scene.house.client_id,
    )  # fmt: skip
    shown: dict[str, dict[str, list[str]]] = {}
    for route in READS:
        shown[route.name] = {}
        for role in ROLES:
            actor = scene.actor(role)
            ids = scene.ids | ({"user_id": actor.user_id} if route.name == "get_user_by_id" else {})
            answer = await api.get(route.path.format(emoji="👍", **ids), actor, params=scene.query(route))
            found = sorted(set(keys_of(answer.body["data"]))) if answer.status == 200 else []
            shown[route.name][role] = found
            assert not [key for key in found if NEVER.search(key)], (route.name, role)
    if os.environ.get("WELLIO_WRITE_GOLDEN"):
        FILE.write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
    golden = json.loads(FILE.read_text())
    for name in shown.keys() | golden.keys():
        assert shown.get(name) == golden.get(name), f"{name}: {__doc__}"
