"""/api/v1/reminder-rules and /api/v1/reminder-preferences"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.reminder_rules import (
    OWNERS,
    NewReminderRules,
    PreferenceChanges,
    Preferences,
    ReminderRules,
    change_preferences,
    get_preferences,
    get_rules,
    set_rules,
)


async def get_reminder_rules(call: Call[NoInput, NoInput]) -> ReminderRules:
    """How long before a session whom the practice reminds, and by what."""
    return await get_rules(call.services.db, call.actor.practice_id)


async def put_reminder_rules(call: Call[NewReminderRules, NoInput]) -> ReminderRules:
    """Set them, all at once; an empty list turns reminders off."""
    return await set_rules(call.services.outbox, call.actor, call.body, if_version=call.if_version)


async def get_reminder_preferences(call: Call[NoInput, NoInput]) -> Preferences:
    """By what you are reminded, and your quiet hours."""
    return await get_preferences(call.services.db, call.actor)


async def patch_reminder_preferences(call: Call[PreferenceChanges, NoInput]) -> Preferences:
    """Change them. In quiet hours no reminder comes: after them, or before if that were too late."""
    return await change_preferences(call.services.outbox, call.actor, call.body, if_version=call.if_version)


RULES = "/api/v1/reminder-rules"
PREFERENCES = "/api/v1/reminder-preferences"
ROUTES = (
    Route(
        method="GET", path=RULES, handler=get_reminder_rules, tag="reminders", roles=STAFF, answer=ReminderRules,
    ),
    Route(
        method="PUT", path=RULES, handler=put_reminder_rules, tag="reminders", roles=OWNERS,
        body=NewReminderRules, answer=ReminderRules, errors=(412,),
    ),
    Route(
        method="GET", path=PREFERENCES, handler=get_reminder_preferences, tag="reminders", answer=Preferences,
    ),
    Route(
        method="PATCH", path=PREFERENCES, handler=patch_reminder_preferences, tag="reminders",
        body=PreferenceChanges, answer=Preferences, errors=(412,),
    ),
)  # fmt: skip
