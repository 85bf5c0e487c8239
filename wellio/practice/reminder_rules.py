"""Who is reminded of sessions, when and by what: the rules of a practice, and what each user wants of them."""

from dataclasses import dataclass
from datetime import time
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field

from wellio.accounts.actors import EVERYONE, Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, PreconditionFailed
from wellio.outbox import Outbox
from wellio.practice.availability import WallTime, minutes_of
from wellio.values import Flag, Input, changed_values

OWNERS = frozenset({Role.OWNER})
MAX_RULES = 5
MAX_MINUTES = 30 * 1440

GET_RULES = "select rules, version from reminder_rules where practice_id = $1"

LOCK_PRACTICE = "select id from practices where id = $1 for no key update"

UPSERT_RULES = """
insert into reminder_rules (practice_id, rules)
values ($1, $2)
on conflict on constraint reminder_rules_pkey do update
set rules = excluded.rules, version = reminder_rules.version + 1, updated_at = now()
"""

GET_PREFERENCES = """
select by_mail, in_app, quiet_from, quiet_to, version
from reminder_preferences
where practice_id = $1 and user_id = $2
"""

LOCK_READER = "select id from users where practice_id = $1 and id = $2 for no key update"

UPSERT_PREFERENCES = """
insert into reminder_preferences (practice_id, user_id, by_mail, in_app, quiet_from, quiet_to)
values ($1, $2, $3, $4, $5, $6)
on conflict on constraint reminder_preferences_pkey do update
set by_mail = excluded.by_mail, in_app = excluded.in_app, quiet_from = excluded.quiet_from,
    quiet_to = excluded.quiet_to, version = reminder_preferences.version + 1, updated_at = now()
"""


class ReminderRule(Input):
    minutes_before: Annotated[int, Field(ge=5, le=MAX_MINUTES, strict=True)]
    to_clients: Flag = True
    to_coaches: Flag = True
    by_mail: Flag = True
    in_app: Flag = True


DEFAULT_RULES = (ReminderRule(minutes_before=1440), ReminderRule(minutes_before=60))


def _distinct(rules: tuple[ReminderRule, ...]) -> tuple[ReminderRule, ...]:
    if len({rule.minutes_before for rule in rules}) != len(rules):
        raise ValueError("must not name the same minutes_before twice")
    return tuple(sorted(rules, key=lambda rule: -rule.minutes_before))


class NewReminderRules(Input):
    """All of them; none turns reminders off."""

    rules: Annotated[tuple[ReminderRule, ...], Field(max_length=MAX_RULES), AfterValidator(_distinct)]


class PreferenceChanges(Input):
    """Only the named fields change. `null` for both ends lifts the quiet hours, which may go over midnight."""

    by_mail: Flag | None = None
    in_app: Flag | None = None
    quiet_from: WallTime | None = None
    quiet_to: WallTime | None = None


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """`version` 0: the default ones."""

    rules: tuple[ReminderRule, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Preferences:
    """Quiet hours are wall times in the user's zone, half-open."""

    by_mail: bool
    in_app: bool
    quiet_from: str | None
    quiet_to: str | None
    version: int


UNSET = Preferences(by_mail=True, in_app=True, quiet_from=None, quiet_to=None, version=0)


async def get_rules(db: Database | Connection, practice_id: UUID) -> ReminderRules:
    row = await db.fetchrow(GET_RULES, practice_id)
    if row is None:
        return ReminderRules(DEFAULT_RULES, 0)
    return ReminderRules(tuple(ReminderRule.model_validate(rule) for rule in row["rules"]), row["version"])


async def set_rules(
    outbox: Outbox, actor: Actor, new: NewReminderRules, *, if_version: int | None = None
) -> ReminderRules:
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_PRACTICE, actor.practice_id)
        before = await get_rules(tx.connection, actor.practice_id)
        _check_version(before.version, if_version)
        await tx.connection.execute(UPSERT_RULES, actor.practice_id, [rule.model_dump() for rule in new.rules])
        return await get_rules(tx.connection, actor.practice_id)


async def get_preferences(db: Database | Connection, actor: Actor) -> Preferences:
    row = await db.fetchrow(GET_PREFERENCES, actor.practice_id, actor.user_id)
    return _preferences(row) if row else UNSET


async def change_preferences(
    outbox: Outbox, actor: Actor, changes: PreferenceChanges, *, if_version: int | None = None
) -> Preferences:
    actor.must_be(EVERYONE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_READER, actor.practice_id, actor.user_id)
        before = await get_preferences(tx.connection, actor)
        _check_version(before.version, if_version)
        values = _changed(before, changes)
        quiet = [_time_of(values[name]) for name in ("quiet_from", "quiet_to")]
        await tx.connection.execute(
            UPSERT_PREFERENCES, actor.practice_id, actor.user_id, values["by_mail"], values["in_app"], *quiet
        )
        return await get_preferences(tx.connection, actor)


def _check_version(version: int, if_version: int | None) -> None:
    if if_version is not None and if_version != version:
        raise PreconditionFailed("This was changed since you read it; read it again.")


def _changed(before: Preferences, changes: PreferenceChanges) -> dict[str, Any]:
    named = changed_values(changes, clearable=("quiet_from", "quiet_to"))
    values = {name: getattr(before, name) for name in PreferenceChanges.model_fields} | named
    if (values["quiet_from"] is None) != (values["quiet_to"] is None):
        raise Invalid.field("quiet_to", "Quiet hours have both ends, or none.")
    if values["quiet_from"] is not None and _time_of(values["quiet_from"]) == _time_of(values["quiet_to"]):
        raise Invalid.field("quiet_to", "Must be another time than quiet_from.")
    return values


def _time_of(text: str | None) -> time | None:
    """24:00 is the midnight that the next day begins with."""
    return time(minutes_of(text) // 60 % 24, minutes_of(text) % 60) if text is not None else None


def _preferences(row: Row) -> Preferences:
    told = {name: f"{row[name]:%H:%M}" if row[name] is not None else None for name in ("quiet_from", "quiet_to")}
    return Preferences(row["by_mail"], row["in_app"], told["quiet_from"], told["quiet_to"], row["version"])
