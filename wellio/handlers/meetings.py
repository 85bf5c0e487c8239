"""/api/v1/meeting-settings"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.meetings import MeetingSettings, NewMeetingSettings, get_settings, set_settings


async def get_meeting_settings(call: Call[NoInput, NoInput]) -> MeetingSettings:
    """Where one meets people online: by a link of one's own, or in rooms."""
    return await get_settings(call.services.db, call.actor, call.actor.user_id)


async def put_meeting_settings(call: Call[NewMeetingSettings, NoInput]) -> MeetingSettings:
    """Set it."""
    return await set_settings(call.services.outbox, call.actor, call.actor.user_id, call.body)


async def get_meeting_settings_of_coach(call: Call[NoInput, NoInput]) -> MeetingSettings:
    """Where a coach meets people online: for owners anybody's."""
    return await get_settings(call.services.db, call.actor, call.ids["coach_id"])


async def put_meeting_settings_of_coach(call: Call[NewMeetingSettings, NoInput]) -> MeetingSettings:
    """Set it."""
    return await set_settings(call.services.outbox, call.actor, call.ids["coach_id"], call.body)


BASE = "/api/v1/meeting-settings"
ONE = f"{BASE}/{{coach_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=get_meeting_settings, tag="meeting-settings", roles=STAFF,
        answer=MeetingSettings,
    ),
    Route(
        method="PUT", path=BASE, handler=put_meeting_settings, tag="meeting-settings", roles=STAFF,
        body=NewMeetingSettings, answer=MeetingSettings,
    ),
    Route(
        method="GET", path=ONE, handler=get_meeting_settings_of_coach, tag="meeting-settings", roles=STAFF,
        answer=MeetingSettings,
    ),
    Route(
        method="PUT", path=ONE, handler=put_meeting_settings_of_coach, tag="meeting-settings", roles=STAFF,
        body=NewMeetingSettings, answer=MeetingSettings,
    ),
)  # fmt: skip
