"""A link across practices is impossible in plain SQL: read from PostgreSQL's own catalog, for every table there is."""

import re

import asyncpg
import pytest

from tests.factories import make_house
from tests.test_authorization import make_scene
from wellio.db import Database

# References without practice_id, and why they can't cross. Neither table is read by practice.
PLAIN_REFERENCES = {
    "refresh_tokens_session_id_fkey": "a token's row is found by its hash alone, and has no practice of its own",
    "idempotency_keys_user_id_fkey": "a key's row is found by its user alone, and has no practice of its own",
    "drafts_member_fkey": "the same row refers to the conversation and to the user with their practice",
}
# Columns of tenant tables that name something and have no reference, and why.
NO_REFERENCE = {
    "audit_log.*": "tells of what was, also of what is gone since; append-only",
    "events.*": "tells of what was, also of what is gone since; append-only",
    "predictions.last_event_id": "the event that moved it; events have no practice in their key",
    "prediction_history.event_id": "the event that moved it; events have no practice in their key",
    "reminders_sent.recipient_id": "the coach's user or a client; the session is referred to",
    "notifications.event_id": "the event it tells of; makes it unique",
    "conversation_events.message_id": "written by the statement that writes the message, in its conversation",
    "conversation_events.actor_id": "written by the statement that checks the member",
    "webhook_deliveries.event_id": "the event it tells of; makes it unique",
    "webhook_deliveries.subject_id": "what the event is about; keeps the order",
    "shown_messages.*": "a view of messages",
    "messages.client_message_id": "a name that the sender made up",
    "scheduled_messages.client_message_id": "a name that the sender made up",
}

LIST_REFERENCES = """
select c.conname as name, c.conrelid::regclass::text as table, c.confrelid::regclass::text as target, c.convalidated,
       array(select a.attname::text from unnest(c.conkey) with ordinality k (n, i)
             join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i) as columns,
       array(select a.attname::text from unnest(c.confkey) with ordinality k (n, i)
             join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i) as target_columns
from pg_constraint c
where c.contype = 'f' and c.connamespace = 'public'::regnamespace
"""

LIST_COLUMNS = """
select table_name, column_name, is_nullable = 'YES' as nullable, data_type
from information_schema.columns
where table_schema = 'public'
"""


async def test_every_reference_between_tenant_tables_holds_the_practice(db: Database) -> None:
    tenant_tables = {r["table_name"] for r in await db.fetch(LIST_COLUMNS) if r["column_name"] == "practice_id"}
    references = await db.fetch(LIST_REFERENCES)
    assert len(references) > 20
    for r in references:
        assert r["convalidated"], r["name"]
        if r["target"] not in tenant_tables or r["name"] in PLAIN_REFERENCES:
            continue
        pairs = dict(zip(r["columns"], r["target_columns"], strict=True))
        assert pairs.get("practice_id") == "practice_id", f"{r['name']}: reference (practice_id, …)"


async def test_no_practice_can_be_left_out_of_a_reference(db: Database) -> None:
    """A reference with a null in it is not checked: where practice_id may be null, a check says the rest is too."""
    nullable = {
        r["table_name"] for r in await db.fetch(LIST_COLUMNS) if r["column_name"] == "practice_id" and r["nullable"]
    }
    checks = " ".join(
        r["definition"]
        for r in await db.fetch("select pg_get_constraintdef(oid) as definition from pg_constraint where contype = 'c'")
    )
    for r in await db.fetch(LIST_REFERENCES):
        others = set(r["columns"]) - {"practice_id"}
        if r["table"] in nullable and others and "practice_id" in r["columns"]:
            (column,) = others
            pattern = rf"\({column} IS NULL\) OR \(practice_id IS NOT NULL\)"
            assert re.search(pattern, checks), f"{r['name']}: practice_id may be null where {column} is not"


async def test_every_id_in_a_tenant_table_is_a_reference_or_says_why_not(db: Database) -> None:
    columns = await db.fetch(LIST_COLUMNS)
    tenant_tables = {r["table_name"] for r in columns if r["column_name"] == "practice_id"}
    referring = {(r["table"], column) for r in await db.fetch(LIST_REFERENCES) for column in r["columns"]}
    for r in columns:
        table, column = r["table_name"], r["column_name"]
        if table not in tenant_tables or r["data_type"] != "uuid" or column in ("id", "practice_id"):
            continue
        explained = {f"{table}.{column}", f"{table}.*"} & set(NO_REFERENCE)
        assert (table, column) in referring or explained, f"{table}.{column}"


async def test_rows_can_not_be_linked_across_practices(db: Database) -> None:
    """Each reference that the house has a row for, pointed at the same thing of the other practice."""
    house, foreign = await make_house(db), await make_house(db, "Other practice")
    await make_scene(db, house, foreign)
    await make_scene(db, foreign, house)
    tried = 0
    for r in await db.fetch(LIST_REFERENCES):
        columns = [column for column in r["columns"] if column != "practice_id"]
        if "practice_id" not in r["columns"] or not columns:
            continue
        target = dict(zip(r["columns"], r["target_columns"], strict=True))
        column = columns[-1]
        ours = f"{r['table']} where practice_id = $1 and {column} is not null"
        theirs = f"select {target[column]} from {r['target']} where practice_id = $2 limit 1"
        if not await db.fetchval(f"select count(*) from {ours}", house.practice.id):
            continue
        tried += 1
        # Also what else would be wrong with it then, two sessions of a coach at a time, may be told first; of ledgers,
        # that they only grow.
        with pytest.raises((asyncpg.IntegrityConstraintViolationError, asyncpg.InsufficientPrivilegeError)):
            async with db.pool.acquire() as connection:
                await connection.execute(
                    f"update {ours.replace(' where', f' set {column} = ({theirs}) where', 1)}",
                    house.practice.id, foreign.practice.id,
                )  # fmt: skip
    assert tried >= 10
