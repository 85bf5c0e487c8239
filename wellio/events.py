"""What happens in a practice: the names of the events and the row that tells of one.

Payloads hold ids, times, money and kinds; never what somebody wrote, so the log can be kept for ever.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from wellio.ids import uuid7


class EventType(StrEnum):
    PRACTICE_REGISTERED = "PracticeRegistered"  # payload: churn_horizon_days
    USER_LOGGED_IN = "UserLoggedIn"
    CLIENT_CREATED = "ClientCreated"
    CLIENT_UPDATED = "ClientUpdated"  # payload: changed (names of fields), status (if it changed)
    CLIENT_ERASED = "ClientErased"  # the last of a client: whoever records it has locked the client's row before
    CLIENT_FIELD_CHANGED = "ClientFieldChanged"  # payload of these: how (added, changed, deleted)
    NOTE_CHANGED = "NoteChanged"  # private to staff; subject: the note
    GOAL_CHANGED = "GoalChanged"  # how also: progressed; status, by (role)
    MEASUREMENT_RECORDED = "MeasurementRecorded"  # payload: kind, by (role); of a custom one not its name
    MEASUREMENT_DELETED = "MeasurementDeleted"
    # Payload of session events: by (role), status, coach_id, starts_at, ends_at, price_minor, version, sequence
    SESSION_HELD = "SessionHeld"
    SESSION_HOLD_ENDED = "SessionHoldEnded"  # it ran out (by: system), or was called off
    SESSION_BOOKED = "SessionBooked"
    SESSION_RESCHEDULED = "SessionRescheduled"  # payload adds previous_start_at, previous_ends_at
    SESSION_STARTED = "SessionStarted"
    SESSION_COMPLETED = "SessionCompleted"
    SESSION_MISSED = "SessionMissed"
    SESSION_NO_SHOW_UNDONE = "SessionNoShowUndone"  # payload adds missed_at: when it was marked so
    SESSION_CANCELLED = "SessionCancelled"  # its status says who cancelled, and how late
    SESSION_UPDATED = "SessionUpdated"
    # Of several sessions of a series at once, whose own events (with series_id) come with it. Subject: the series;
    # payload: by, coach_id, session_ids, starts_at (of the first), count.
    SERIES_BOOKED = "SeriesBooked"
    SERIES_MOVED = "SeriesMoved"
    SERIES_UPDATED = "SeriesUpdated"
    SERIES_CANCELLED = "SeriesCancelled"
    REMINDER_DUE = "ReminderDue"  # subject: the session; payload: user_id, timezone, starts_at, minutes_before
    BOOKING_POLICY_CHANGED = "BookingPolicyChanged"  # subject: the practice; payload: changed (names of fields)
    # Of one client's place in a group. Payload as of session events, version: the group's, which each raises; by may be
    # waitlist, when Wellio moved it.
    PARTICIPANT_JOINED = "ParticipantJoined"
    PARTICIPANT_LEFT = "ParticipantLeft"  # gave it up, was taken out, or the group was called off; status: how late
    PARTICIPANT_ATTENDED = "ParticipantAttended"
    PARTICIPANT_MISSED = "ParticipantMissed"
    PARTICIPANT_UNMARKED = "ParticipantUnmarked"  # not attended, or (with missed_at) not missed after all
    WAITLIST_JOINED = "WaitlistJoined"
    WAITLIST_LEFT = "WaitlistLeft"  # payload adds ended: left, declined (an offer)
    WAITLIST_OFFERED = "WaitlistOffered"  # payload adds expires_at
    WAITLIST_OFFER_EXPIRED = "WaitlistOfferExpired"
    AVAILABILITY_CHANGED = "AvailabilityChanged"  # subject: the coach; payload: changed (names of fields)
    SESSION_TYPE_CHANGED = "SessionTypeChanged"
    CONVERSATION_STARTED = "ConversationStarted"
    MESSAGE_REPORTED = "MessageReported"  # subject of these: the conversation; payload: report_id, reason
    REPORT_SETTLED = "ReportSettled"  # payload: report_id, action
    CONVERSATION_OVERSEEN = "ConversationOverseen"  # an owner read it who is not in it
    MESSAGE_OVERSIGHT_CHANGED = "MessageOversightChanged"  # subject: the practice; payload: message_oversight
    MESSAGE_SENT = "MessageSent"  # payload: by (owner, coach, client), seq; subject: the conversation
    MEMBERS_MENTIONED = "MembersMentioned"  # subject: the message; payload: conversation_id, seq, user_ids
    PAYMENT_RECORDED = "PaymentRecorded"  # payload: amount_minor, currency
    PAYMENT_REFUNDED = "PaymentRefunded"
    PAYMENT_VOIDED = "PaymentVoided"  # a payment or refund that was recorded in error
    PLAN_CHANGED = "PlanChanged"
    PACKAGE_CHANGED = "PackageChanged"
    SUBSCRIPTION_STARTED = "SubscriptionStarted"  # of subscriptions: plan_id, status, price_minor, currency
    SUBSCRIPTION_CHANGED = "SubscriptionChanged"
    PACKAGE_PURCHASED = "PackagePurchased"  # payload: package_id, credits, price_minor, currency
    CLIENT_CHARGED = "ClientCharged"  # of charges: kind, amount_minor, currency
    CHARGE_VOIDED = "ChargeVoided"
    CREDITS_GRANTED = "CreditsGranted"  # of credits: amount, reason; subject: the session, or the lot
    CREDIT_USED = "CreditUsed"
    CREDIT_RETURNED = "CreditReturned"
    CREDITS_EXPIRED = "CreditsExpired"
    CREDITS_CORRECTED = "CreditsCorrected"
    ACTIVITY_RECORDED = "ActivityRecorded"  # payload: kind, active, amount_minor
    WEBHOOK_DISABLED = "WebhookDisabled"  # by Wellio; payload: reason (gone, failing)
    CLOCK_TICKED = "ClockTicked"  # "it is this time now": lets silence be seen


# Below every event, those of a restored database included, which lie below zero (sql/after_restore.sql).
BEGINNING = -(2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of `events`. `xid` and `position` are 0 until it is stored."""

    type: EventType
    practice_id: UUID
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    client_id: UUID | None = None
    subject_id: UUID | None = None
    actor_id: UUID | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid7)
    xid: int = 0
    position: int = 0

    @property
    def cursor(self) -> "Cursor":
        return Cursor(self.xid, self.position)


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the event log: all events up to it have been dealt with. Made of nothing, it is the beginning."""

    xid: int = BEGINNING
    position: int = 0
