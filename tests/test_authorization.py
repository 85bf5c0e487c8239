"""The authorization matrix: each operation of the route tables, tried by each kind of actor.

`authorization.toml` says what each must get. A denial for what is another's is byte for byte the denial for
what does not exist, changes no row, and tells nothing that belongs to somebody else.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.api import Answer, Api
from tests.factories import PASSWORD, House, make_client, make_house, sign_in
from tests.owner import as_owner
from wellio.accounts.actors import Actor
from wellio.accounts.invitations import INSERT_INVITATION
from wellio.chat.messages import MessageWriter
from wellio.chat.openings import NewConversation, create_conversation
from wellio.chat.reports import BODY as REPORTED_BODY
from wellio.chat.scheduled_messages import COLUMN as SCHEDULED_BODY
from wellio.chat.values import NewMessage
from wellio.config import Config
from wellio.db import Database
from wellio.handlers.routes import Route
from wellio.handlers.table import ROUTES
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.practice.notes import COLUMN as NOTE_BODY
from wellio.practice.upload_files import uploads_in
from wellio.sealing import Sealer

MATRIX: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "authorization.toml").read_text())
STATUSES = {"forbidden": 403, "not_found": 404, "invalid": 422, "conflict": 409}
ACTORS = ("owner", "coach", "client", "other_coach", "other_client", "foreign_owner", "foreign_coach", "foreign_client")
CANARY = "canary-of-the-house"
SEALER = Sealer({"k1": bytes(range(32))})

PROTECTED = [route for route in ROUTES if route.roles is not None]
WITH_IDS = [route for route in PROTECTED if route.id_names]


def each_tag(routes: Sequence[Route]) -> pytest.MarkDecorator:
    """A test for the `routes` of each tag: what leaves the scene as it was needs none of its own for each route."""
    by_tag: dict[str, list[Route]] = {}
    for route in routes:
        by_tag.setdefault(route.tag, []).append(route)
    return pytest.mark.parametrize("routes", by_tag.values(), ids=by_tag)


@dataclass(frozen=True, slots=True)
class Scene:
    """The house, a practice beside it, and the ids of what the house holds, by their name in addresses."""

    house: House
    foreign: House
    ids: dict[str, UUID]

    def actor(self, name: str) -> Actor:
        house = self.foreign if name.startswith("foreign_") else self.house
        actor: Actor = getattr(house, name.removeprefix("foreign_"))
        return actor

    def body(self, route: Route, day: int) -> Any:
        """What a caller who may would send about the house's client; `day` keeps bookings apart."""
        client_id = str(self.house.client_id)
        starts_at = f"2031-01-{day + 1:02}T10:00:00Z"
        return {
            "patch_me": {"timezone": "Asia/Tokyo"},
            "post_password": {"current_password": PASSWORD, "new_password": f"ten thousand small lanterns {day}"},
            "post_invitation": {
                "email": f"invited.{day}@example.org",
                "role": "client",
                "client_id": str(self.ids["client_without_login"]),
            },
            "patch_user": {"status": "suspended"},
            "post_client": {"first_name": f"A{day}", "last_name": "B"},
            "post_clients_bulk": {"action": "tag", "client_ids": [client_id], "tags": [f"tag {day}"]},
            "patch_client": {"goals": f"Sleep {day} hours"},
            "post_note": {"body": f"Slept {day} hours"},
            "patch_note": {"pinned": day % 2 == 0},
            "post_goal": {"title": f"Goal {day}"},
            "patch_goal": {"title": f"Goal {day}"},
            "post_goal_progress": {"value": day},
            "post_measurement": {"kind": "weight", "value": 70 + day, "unit": "kg"},
            "post_client_field": {"key": f"field_{day}", "label": "Field", "type": "text"},
            "patch_client_field": {"label": f"Field {day}"},
            "post_session": {"client_id": client_id, "starts_at": starts_at, "duration_minutes": 30},
            "patch_session": {"status": "cancelled"},
            "put_session_notes": {"text": f"Notes {day}"},
            "put_meeting_settings": {"kind": "link", "url": f"https://meet.example.org/{day}"},
            "put_meeting_settings_of_coach": {"kind": "link", "url": f"https://meet.example.org/{day}"},
            "patch_booking_policy": {"hold_minutes": 20 + day},
            "post_participant": {"client_id": client_id},
            "patch_participant": {"status": "booked"},
            "post_waitlist_entry": {"client_id": client_id},
            "post_waitlist_acceptance": {"client_id": client_id},
            "post_session_type": {"name": "Coaching", "duration_minutes": 30},
            "patch_session_type": {"price_minor": day},
            "patch_availability": {"increment_minutes": 5 + day},
            "post_availability_override": {"day": f"2031-01-{day + 1:02}"},
            "post_time_off": {"starts_at": starts_at, "ends_at": f"2031-01-{day + 1:02}T11:00:00Z"},
            "post_external_calendar": {"url": f"https://calendar.example.org/{day}.ics"},
            "post_webhook": {"url": f"https://hooks.example.org/{day}"},
            "patch_webhook": {"description": f"Day {day}"},
            "put_reminder_rules": {"rules": [{"minutes_before": 30 + day}]},
            "patch_reminder_preferences": {"by_mail": False},
            "post_calendar_feed": {"name": f"Phone {day}"},
            "post_payment": {"client_id": client_id, "amount_minor": 100},
            "post_refund": {"amount_minor": 1 + day},
            "post_payment_void": {"note": "Never came"},
            "post_charge": {"client_id": client_id, "amount_minor": 100},
            "post_charge_void": {"note": "Waived"},
            "post_plan": {"name": "Monthly", "price_minor": 9000, "session_credits": 4},
            "patch_plan": {"price_minor": day},
            "post_subscription": {"client_id": client_id, "plan_id": str(self.ids["plan_id"])},
            "patch_subscription": {"status": "paused"},
            "post_package": {"name": "Ten", "price_minor": 9000, "credits": 10},
            "patch_package": {"price_minor": day},
            "post_package_purchase": {"client_id": client_id, "package_id": str(self.ids["package_id"])},
            "post_credits": {"client_id": client_id, "amount": 2},
            "post_conversation": {"kind": "direct", "member_ids": [str(self.house.client.user_id)]},
            "patch_conversation": {"title": f"Title {day}"},
            "post_conversation_read": {"seq": 1},
            "post_conversation_delivered": {"seq": 1},
            "post_conversation_members": {"user_ids": [str(self.house.client.user_id)]},
            "patch_conversation_member": {"role": "member"},
            "put_conversation_mute": {},
            "put_conversation_draft": {"body": f"Draft {day}"},
            "post_report": {"reason": "spam"},
            "patch_report": {"status": "dismissed"},
            "patch_message_oversight": {"message_oversight": "reported"},
            "post_notifications_read": {"ids": [str(self.ids["notification_id"])]},
            "post_scheduled_message": {"client_message_id": str(uuid4()), "body": "Later", "send_at": in_a_month()},
            "patch_scheduled_message": {"body": f"Later {day}"},
            "post_api_key": {"name": "Calendar", "scopes": ["clients:read"]},
            "post_step_up": {"password": PASSWORD},
            "post_mfa_totp_confirm": {"code": "123456"},
            "patch_message": {"body": f"Edited {day}"},
            "post_message": {"conversation_id": str(self.ids["conversation_id"]), "body": "Hello"},
        }.get(route.name)

    def query(self, route: Route) -> dict[str, str]:
        """What a route can't do without."""
        if route.name == "list_overseen_messages_page":
            return {"reason": "A complaint"}
        if route.name == "get_analytics_export":
            return {"dataset": "clients"}
        if route.name == "get_optimal_scheduling":
            return {"from": "2031-01-01T00:00:00Z", "to": "2031-01-02T00:00:00Z"}
        if route.name != "get_slots":
            return {}
        ids = {name: str(self.ids[name]) for name in ("coach_id", "session_type_id")}
        return {"from": "2031-01-01T00:00:00Z", "to": "2031-01-02T00:00:00Z", **ids}


def in_a_month() -> str:
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


@pytest.fixture
async def scene(db: Database, config: Config) -> Scene:
    scene = await make_scene(db, await make_house(db), await make_house(db, "Other practice"))
    file = uploads_in(config.data_dir).path(scene.ids["upload_id"])
    file.parent.mkdir(parents=True)
    file.write_bytes(b"abc")
    return scene


async def make_scene(db: Database, house: House, foreign: House, canary: str = CANARY) -> Scene:
    ids = {"client_id": house.client_id, "coach_id": house.coach.user_id, "session_id": uuid4(), "payment_id": uuid4()}
    await db.execute("update clients set goals = $2 where id = $1", house.client_id, canary)
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, client_id, title, starts_at, ends_at, timezone, currency)"
        " values ($1, $2, $3, $4, $5, '2030-01-01 10:00Z', '2030-01-01 11:00Z', 'UTC', 'EUR')",
        ids["session_id"], house.practice.id, house.coach.user_id, house.client_id, canary,
    )  # fmt: skip
    await db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at, note)"
        " values ($1, $2, $3, 'payment', 100, 'EUR', now(), $4)",
        ids["payment_id"], house.practice.id, house.client_id, canary,
    )  # fmt: skip
    ids["notification_id"] = uuid4()
    await db.execute(
        "insert into notifications (id, practice_id, user_id, kind, title, event_id)"
        " values ($1, $2, $3, 'session_booked', $4, $1)",
        ids["notification_id"], house.practice.id, house.coach.user_id, canary,
    )  # fmt: skip
    ids["api_key_id"] = uuid4()
    await db.execute(
        "insert into api_keys (id, practice_id, user_id, name, prefix, key_hash, scopes)"
        " values ($1, $2, $3, $4, 'wk_x', $5, '{all:read}')",
        ids["api_key_id"], house.practice.id, house.coach.user_id, canary, ids["api_key_id"].bytes,
    )  # fmt: skip
    ids |= {"session_type_id": uuid4(), "override_id": uuid4(), "time_off_id": uuid4()}
    await db.execute(
        "insert into session_types (id, practice_id, coach_id, name, duration_minutes, currency)"
        " values ($1, $2, $3, 'Coaching', 60, 'EUR')",
        ids["session_type_id"], house.practice.id, house.coach.user_id,
    )  # fmt: skip
    ids["series_id"] = uuid4()
    await db.execute(
        "insert into session_series (id, practice_id, coach_id, client_id, rrule, local_start, timezone,"
        " duration_minutes) values ($1, $2, $3, $4, 'FREQ=WEEKLY;COUNT=1', '2030-01-01 10:00', 'UTC', 60)",
        ids["series_id"], house.practice.id, house.coach.user_id, house.client_id,
    )  # fmt: skip
    await db.execute("update sessions set series_id = $2 where id = $1", ids["session_id"], ids["series_id"])
    ids |= await make_accounts(db, house, canary)
    ids |= {"note_id": uuid4(), "goal_id": uuid4(), "measurement_id": uuid4(), "field_id": uuid4()}
    await db.execute(
        "insert into client_goals (id, practice_id, client_id, title, unit, start_value, target_value, current_value,"
        " created_by) values ($1, $2, $3, $4, '%', 0, 100, 0, $5)",
        ids["goal_id"], house.practice.id, house.client_id, canary, house.coach.user_id,
    )  # fmt: skip
    await db.execute(
        "insert into goal_progress (id, practice_id, goal_id, value, note, reached_at, recorded_by)"
        " values ($1, $2, $3, 10, $4, now(), $5)",
        uuid4(), house.practice.id, ids["goal_id"], canary, house.client.user_id,
    )  # fmt: skip
    ids["scheduled_message_id"] = uuid4()
    ids |= {"webhook_id": uuid4(), "delivery_id": uuid4(), "calendar_id": uuid4()}
    ids["feed_id"] = uuid4()
    await db.execute(
        "insert into calendar_feeds (id, practice_id, user_id, name, token_hash) values ($1, $2, $3, $4, $5)",
        ids["feed_id"], house.practice.id, house.client.user_id, canary, ids["feed_id"].bytes,
    )  # fmt: skip
    ids |= await open_chat(Outbox(db), house, canary)
    ids |= await open_doors(db, house, canary)
    ids["group_id"] = await make_full_group(db, house, ids["client_without_login"], canary)
    scene = Scene(house, foreign, ids)
    await renew(db, scene)
    await db.execute("update webhooks set description = $2 where id = $1", ids["webhook_id"], canary)
    await db.execute("update webhook_deliveries set body = $2 where id = $1", ids["delivery_id"], canary)
    await report(db, scene, canary)
    words = SEALER.seal(canary.encode(), column=SCHEDULED_BODY, row_id=ids["scheduled_message_id"])
    await db.execute("update scheduled_messages set body = $2 where id = $1", ids["scheduled_message_id"], words)
    return scene


async def report(db: Database, scene: Scene, canary: str) -> None:
    """The message, reported by somebody who is not in the conversation any more."""
    ids, house = scene.ids, scene.house
    ids["report_id"] = uuid4()
    await db.execute(
        "insert into message_reports"
        " (id, practice_id, conversation_id, message_id, sender_id, reporter_id, reason, body)"
        " values ($1, $2, $3, $4, $5, $6, 'other', $7)",
        ids["report_id"], house.practice.id, ids["conversation_id"], ids["message_id"], house.coach.user_id,
        house.owner.user_id, SEALER.seal(canary.encode(), column=REPORTED_BODY, row_id=ids["report_id"]),
    )  # fmt: skip


async def make_accounts(db: Database, house: House, canary: str) -> dict[str, UUID]:
    """A plan that nobody has yet, a client's subscription to another one, a package and a purchase of it."""
    practice_id, client_id = house.practice.id, house.client_id
    ids = {
        name: uuid4()
        for name in ("plan_id", "subscription_id", "package_id", "purchase_id", "charge_id", "purchase_charge_id")
    }
    agreed_id, lot_id = uuid4(), uuid4()
    await db.execute(
        "insert into plans (id, practice_id, name, price_minor, currency, interval)"
        " select unnest($1::uuid[]), $2, 'Monthly', 9000, 'EUR', 'month'",
        [ids["plan_id"], agreed_id], practice_id,
    )  # fmt: skip
    await db.execute(
        "insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,"
        " next_period_on) values ($1, $2, $3, $4, '2031-01-31', 9000, 'EUR', 'month', '2031-01-31')",
        ids["subscription_id"], practice_id, client_id, agreed_id,
    )  # fmt: skip
    await db.execute(
        "insert into packages (id, practice_id, name, credits, price_minor, currency)"
        " values ($1, $2, 'Ten', 10, 50000, 'EUR')",
        ids["package_id"], practice_id,
    )  # fmt: skip
    await db.execute(
        "insert into package_purchases (id, practice_id, client_id, package_id, credits, price_minor, currency,"
        " purchased_at) values ($1, $2, $3, $4, 10, 50000, 'EUR', now())",
        ids["purchase_id"], practice_id, client_id, ids["package_id"],
    )  # fmt: skip
    await db.execute(
        "insert into charges (id, practice_id, client_id, kind, amount_minor, currency, charged_at, note, purchase_id)"
        " values ($1, $3, $4, 'other', 100, 'EUR', now(), $5, null),"
        " ($2, $3, $4, 'package', 50000, 'EUR', now(), $5, $6)",
        ids["charge_id"], ids["purchase_charge_id"], practice_id, client_id, canary, ids["purchase_id"],
    )  # fmt: skip
    await db.execute(
        "insert into credit_lots (id, practice_id, client_id, charge_id) values ($1, $2, $3, $4)",
        lot_id, practice_id, client_id, ids["purchase_charge_id"],
    )  # fmt: skip
    await db.execute(
        "insert into credit_entries (id, practice_id, client_id, lot_id, amount, reason, note)"
        " values ($1, $2, $3, $4, 10, 'purchase', $5)",
        uuid4(), practice_id, client_id, lot_id, canary,
    )  # fmt: skip
    return ids


async def renew(db: Database, scene: Scene) -> None:
    """What callers who may have ended, cancelled or deleted, as it was."""
    await db.execute("update subscriptions set status = 'cancelled' where plan_id = $1", scene.ids["plan_id"])
    await as_owner(
        db,
        "alter table payments disable trigger payments_append_only;"
        " alter table charges disable trigger charges_append_only;"
        " delete from payments where payment_id is not null; delete from charges where charge_id is not null;"
        " alter table payments enable trigger payments_append_only;"
        " alter table charges enable trigger charges_append_only",
    )
    practice_id, coach_id, ids = scene.house.practice.id, scene.house.coach.user_id, scene.ids
    await db.execute("update sessions set status = 'scheduled' where id = $1", ids["session_id"])
    await renew_place(db, scene)
    await db.execute("update api_keys set revoked_at = null")
    await db.execute("update conversation_members set left_at = null")
    await db.execute("update messages set deleted_at = null, attachment_count = 1 where id = $1", ids["message_id"])
    await db.execute(
        "insert into uploads (id, practice_id, uploader_id, state, name, content_type, size_bytes, sha256,"
        " conversation_id, message_id, place) values ($1, $2, $3, 'ready', 'x', 'image/png', 3, '', $4, $5, 0)"
        " on conflict (id) do update set state = 'ready', conversation_id = $4, message_id = $5, place = 0",
        ids["upload_id"], practice_id, coach_id, ids["conversation_id"], ids["message_id"],
    )  # fmt: skip
    await db.execute("update message_reports set status = 'open'")
    await db.execute(
        "insert into scheduled_messages (id, practice_id, conversation_id, sender_id, client_message_id, body, send_at,"
        " due_at) values ($1, $2, $3, $4, $1, $5, now() + interval '30 days', now() + interval '30 days')"
        " on conflict do nothing",
        ids["scheduled_message_id"], practice_id, ids["conversation_id"], coach_id,
        SEALER.seal(CANARY.encode(), column=SCHEDULED_BODY, row_id=ids["scheduled_message_id"]),
    )  # fmt: skip
    await db.execute(
        "insert into user_blocks (practice_id, user_id, blocked_id) values ($1, $2, $3) on conflict do nothing",
        practice_id, scene.house.owner.user_id, ids["person_id"],
    )  # fmt: skip
    # A webhook that wants what the matrix does not do, so that nothing is queued for it meanwhile.
    await db.execute(
        "insert into webhooks (id, practice_id, url, description, event_types, secret)"
        " values ($1, $2, 'https://hooks.example.org/', '', '{webhook.test}', $3) on conflict do nothing",
        ids["webhook_id"], practice_id,
        SEALER.seal(b"whsec_AAAA", column="webhooks.secret", row_id=ids["webhook_id"]),
    )  # fmt: skip
    await db.execute(
        "insert into external_calendars (id, practice_id, coach_id, url, host)"
        " values ($1, $2, $3, 'x', 'calendar.example.org') on conflict do nothing",
        ids["calendar_id"], practice_id, coach_id,
    )  # fmt: skip
    await db.execute(
        "insert into webhook_deliveries (id, practice_id, webhook_id, event_id, type, body)"
        " values ($1, $2, $3, $1, 'webhook.test', '{}') on conflict do nothing",
        ids["delivery_id"], practice_id, ids["webhook_id"],
    )  # fmt: skip
    await write_down(db, scene)
    await db.execute("update calendar_feeds set revoked_at = null")
    await db.execute(
        "insert into availability_overrides (id, practice_id, coach_id, day) values ($1, $2, $3, '2030-06-01')"
        " on conflict do nothing",
        ids["override_id"], practice_id, coach_id,
    )  # fmt: skip
    await db.execute(
        "insert into time_off (id, practice_id, coach_id, starts_at, ends_at, note)"
        " values ($1, $2, $3, '2030-06-02', '2030-06-03', $4) on conflict do nothing",
        ids["time_off_id"], practice_id, coach_id, CANARY,
    )  # fmt: skip


async def write_down(db: Database, scene: Scene) -> None:
    """A note, a measurement of the client's own, and a field, if they are gone."""
    house, ids = scene.house, scene.ids
    sealed = SEALER.seal(CANARY.encode(), column=NOTE_BODY, row_id=ids["note_id"])
    await db.execute(
        "insert into client_notes (id, practice_id, client_id, author_id, body) values ($1, $2, $3, $4, $5)"
        " on conflict do nothing",
        ids["note_id"], house.practice.id, house.client_id, house.coach.user_id, sealed,
    )  # fmt: skip
    await db.execute(
        "insert into measurements (id, practice_id, client_id, kind, name, value, unit, entered_value, entered_unit,"
        " measured_at, recorded_by) values ($1, $2, $3, 'custom', $4, 1, 'cm', 1, 'cm', now(), $5)"
        " on conflict do nothing",
        ids["measurement_id"], house.practice.id, house.client_id, CANARY, house.client.user_id,
    )  # fmt: skip
    await db.execute(
        "insert into client_fields (id, practice_id, key, label, type)"
        " values ($1, $2, 'allergies', 'Allergies', 'text') on conflict do nothing",
        ids["field_id"], house.practice.id,
    )  # fmt: skip


async def make_full_group(db: Database, house: House, participant_id: UUID, canary: str) -> UUID:
    """Of the coach; full, so that no job moves its waitlist. `renew` puts the client where they are."""
    group_id = uuid4()
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, kind, capacity, title, starts_at, ends_at, timezone,"
        " currency) values ($1, $2, $3, 'group', 1, $4, '2030-02-01 10:00Z', '2030-02-01 11:00Z', 'UTC', 'EUR')",
        group_id, house.practice.id, house.coach.user_id, canary,
    )  # fmt: skip
    await db.execute(
        "insert into session_participants (practice_id, session_id, client_id, starts_at, ends_at, session_open)"
        " values ($1, $2, $3, '2030-02-01 10:00Z', '2030-02-01 11:00Z', true)",
        house.practice.id, group_id, participant_id,
    )  # fmt: skip
    return group_id


async def renew_place(db: Database, scene: Scene) -> None:
    """The client gave up their place in the group, and waits for one."""
    who = (scene.house.practice.id, scene.ids["group_id"], scene.house.client_id)
    await db.execute(
        "insert into session_participants (practice_id, session_id, client_id, status, starts_at, ends_at,"
        " session_open) values ($1, $2, $3, 'cancelled', '2030-02-01 10:00Z', '2030-02-01 11:00Z', true)"
        " on conflict on constraint session_participants_pkey do update set status = 'cancelled'",
        *who,
    )
    await db.execute(
        "insert into waitlist_entries (id, practice_id, session_id, client_id) values ($4, $1, $2, $3)"
        " on conflict do nothing",
        *who, uuid4(),
    )  # fmt: skip


async def open_chat(outbox: Outbox, house: House, canary: str) -> dict[str, UUID]:
    """A group of the coach and the client, with one message."""
    new = NewConversation(kind="group", title=canary, member_ids=(house.client.user_id,))
    conversation = await create_conversation(outbox, Live(), house.coach, new)
    writer = MessageWriter(outbox, Live(), Metrics())
    await writer.start()
    message = NewMessage(conversation_id=conversation.id, client_message_id=uuid4(), body=canary)
    sent = await writer.send(house.coach, message)
    await writer.stop()
    return {"conversation_id": conversation.id, "message_id": sent.message.id, "upload_id": uuid4()}


async def open_doors(db: Database, house: House, canary: str) -> dict[str, UUID]:
    """The log-in of the client, another device of the coach, and an invitation that the coach has sent."""
    client_id = await make_client(db, house.practice, coach=house.coach, first_name=canary)
    invitation_id, expires_at = uuid4(), datetime.now(UTC) + timedelta(days=7)
    # Without the mail, whose sending would change rows in the background.
    await db.execute(
        INSERT_INVITATION, invitation_id, house.practice.id, f"{canary}@example.org", "client", client_id,
        house.coach.user_id, expires_at,
    )  # fmt: skip
    return {
        "user_id": house.client.user_id,
        "person_id": house.other_client.user_id,
        "device_id": (await sign_in(db, house.coach)).session_id,
        "invitation_id": invitation_id,
        "client_without_login": client_id,
    }


async def call(
    api: Api, route: Route, scene: Scene, actor: Actor | None, ids: dict[str, UUID], *, day: int = 0
) -> Answer:
    path = route.path.format(emoji="👍", **ids)
    sent: dict[str, Any] = {"data": picture()} if route.multipart else {"json": scene.body(route, day)}
    return await api.call(route.method, path, actor, params=scene.query(route), **sent)


def picture() -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", filename="a.png")
    return form


async def rows_of(db: Database, practice_id: UUID) -> str:
    """A checksum of all that a practice holds."""
    tables = await db.fetch(
        "select table_name from information_schema.columns where table_schema = 'public'"
        " and column_name = 'practice_id' and table_name not in ('auth_sessions', 'audit_log') order by 1"
    )
    sums = [
        f"select '{r[0]}' as name, md5(string_agg(t::text, '' order by t::text)) as sum from {r[0]} t"
        " where practice_id = $1"
        for r in tables
    ]
    whole = f"select string_agg(coalesce(sum, ''), ',' order by name) from ({' union all '.join(sums)}) s"
    checksum: str = await db.fetchval(whole, practice_id)
    return checksum


def test_every_operation_has_a_line_for_every_actor() -> None:
    assert {route.name for route in ROUTES} == set(MATRIX)
    for route in ROUTES:
        line = MATRIX[route.name]
        if line.get("public"):
            assert route.roles is None, f"{route.name} is declared public and asks for a token"
            continue
        named = [actor for verdict in ("allow", *STATUSES) for actor in line.get(verdict, ())]
        assert sorted(named) == sorted(ACTORS), route.name


@each_tag(PROTECTED)
async def test_without_a_valid_token_nobody_comes_in(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    async def is_refused(actor: Actor | None) -> None:
        for route in routes:
            answer = await call(api, route, scene, actor, {name: scene.ids[name] for name in route.id_names})
            assert answer.status == 401, route.name

    before = await rows_of(api.db, scene.house.practice.id)
    await is_refused(None)
    await api.db.execute("update auth_sessions set revoked_at = now() where user_id = $1", scene.house.owner.user_id)
    await is_refused(scene.house.owner)
    await api.db.execute("update users set status = 'suspended' where id = $1", scene.house.coach.user_id)
    await is_refused(scene.house.coach)
    await api.db.execute("update users set status = 'active' where id = $1", scene.house.coach.user_id)
    await api.db.execute("update api_keys set revoked_at = null")  # ended with the suspension
    assert await rows_of(api.db, scene.house.practice.id) == before


def verdict_on(route: Route, name: str) -> str:
    line = MATRIX[route.name]
    return next(verdict for verdict in ("allow", *STATUSES) if name in line.get(verdict, ()))


@each_tag([route for route in PROTECTED if route.method == "GET"])
async def test_each_actor_reads_what_the_matrix_says(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    for route in routes:
        await check_matrix(api, scene, route)


@pytest.mark.parametrize("route", [r for r in PROTECTED if r.method != "GET"], ids=lambda r: r.name)
async def test_each_actor_does_what_the_matrix_says(api: Api, scene: Scene, route: Route) -> None:
    await check_matrix(api, scene, route)


async def check_matrix(api: Api, scene: Scene, route: Route) -> None:
    ids = {key: scene.ids[key] for key in route.id_names}
    allowed_last = sorted(ACTORS, key=lambda name: verdict_on(route, name) == "allow")
    before = await rows_of(api.db, scene.house.practice.id)
    for day, name in enumerate(allowed_last):
        answer = await call(api, route, scene, scene.actor(name), ids, day=day)
        verdict = verdict_on(route, name)
        if verdict == "allow":
            assert answer.status < 300, f"{route.name}, {name}: {answer.raw!r}"
            await renew(api.db, scene)
        else:
            assert answer.status == STATUSES[verdict], f"{route.name}, {name}: {answer.raw!r}"
            assert await rows_of(api.db, scene.house.practice.id) == before, (route.name, name)
        if name.startswith(("other_", "foreign_")):
            assert CANARY.encode() not in answer.raw, (route.name, name)


@each_tag(WITH_IDS)
async def test_foreign_and_missing_are_the_same_answer(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    for route in routes:
        ids = {key: scene.ids[key] for key in route.id_names}
        missing = {key: uuid4() for key in route.id_names}
        for name in MATRIX[route.name].get("not_found", ()):
            foreign_answer = await call(api, route, scene, scene.actor(name), ids)
            missing_answer = await call(api, route, scene, scene.actor(name), missing)
            same = (foreign_answer.status, foreign_answer.raw) == (missing_answer.status, missing_answer.raw)
            assert same, (route.name, name)
