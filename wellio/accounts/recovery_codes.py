"""Recovery codes: ten codes of 80 random bits, one of which stands for a second factor that is lost. Each serves once.

With so many bits a plain sha256 is enough (ASVS 6.5.2). They are shown once, when they are made.
"""

import base64
import re
import secrets
from hashlib import sha256
from uuid import UUID

from wellio.db import Connection, Database

HOW_MANY = 10
CODE_BYTES = 10
GROUPS_OF = 4
_FORM = re.compile("[A-Z2-7]{16}")

DELETE_CODES = "delete from recovery_codes where practice_id = $1 and user_id = $2"

INSERT_CODES = """
insert into recovery_codes (practice_id, user_id, code_hash)
select $1, $2, * from unnest($3::bytea[])
"""

# Of two at once, the second waits for the first and finds it used.
USE_CODE = """
update recovery_codes set used_at = now()
where practice_id = $1 and user_id = $2 and code_hash = $3 and used_at is null
returning true
"""

COUNT_LEFT = "select count(*) from recovery_codes where practice_id = $1 and user_id = $2 and used_at is null"


async def replace_codes(connection: Connection, practice_id: UUID, user_id: UUID) -> list[str]:
    """A new set, as it is to be shown; the codes before serve no more."""
    codes = [_new_code() for _ in range(HOW_MANY)]
    await delete_codes(connection, practice_id, user_id)
    await connection.execute(INSERT_CODES, practice_id, user_id, [_hash(code) for code in codes])
    return codes


async def delete_codes(connection: Connection, practice_id: UUID, user_id: UUID) -> None:
    await connection.execute(DELETE_CODES, practice_id, user_id)


async def use_code(connection: Connection, practice_id: UUID, user_id: UUID, code: str) -> bool:
    """Whether it was one of the user's, until now."""
    if not _FORM.fullmatch(_plain(code)):
        return False
    return bool(await connection.fetchval(USE_CODE, practice_id, user_id, _hash(code)))


async def count_left(db: Connection | Database, practice_id: UUID, user_id: UUID) -> int:
    return int(await db.fetchval(COUNT_LEFT, practice_id, user_id))


def _new_code() -> str:
    text = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode().lower()
    return "-".join(text[at : at + GROUPS_OF] for at in range(0, len(text), GROUPS_OF))


def _plain(code: str) -> str:
    """However it was typed."""
    return code.replace("-", "").replace(" ", "").upper()


def _hash(code: str) -> bytes:
    return sha256(_plain(code).encode()).digest()
