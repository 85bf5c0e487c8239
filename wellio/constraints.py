"""What a violated database constraint means to a person. Every constraint that a user can hit stands here."""

from collections.abc import Callable

from wellio.errors import Conflict, FieldError, Invalid, WellioError


def _conflict(code: str, message: str) -> Callable[[], WellioError]:
    return lambda: Conflict(message, code=code)


def _field(path: str, message: str) -> Callable[[], WellioError]:
    return lambda: Invalid(fields=[FieldError(path, message)])


# Whose time is taken: a client is told apart from the coach, who is taken for everybody.
COACH_TAKEN, CLIENT_TAKEN = {"whose": "coach"}, {"whose": "client"}


def coach_taken(more: str = "") -> Conflict:
    return Conflict(f"The coach is taken at that time.{more}", code="SLOT_TAKEN", details=COACH_TAKEN)


def client_taken() -> Conflict:
    return Conflict("The client has another session at that time.", code="SLOT_TAKEN", details=CLIENT_TAKEN)


_MEANINGS: dict[str, Callable[[], WellioError]] = {
    "users_email_key": _conflict("EMAIL_TAKEN", "An account with this e-mail address exists already."),
    "clients_coach_fkey": _field("coach_id", "No such coach in this practice."),
    "clients_user_key": _conflict("USER_LINKED", "This user is linked to another client already."),
    "clients_external_ref_key": _conflict("CLIENT_EXISTS", "A client with this reference exists already."),
    "client_fields_key": _conflict("FIELD_EXISTS", "The practice has a field with this key already."),
    "invitations_client_fkey": _field("client_id", "No such client in this practice."),
    "sessions_coach_overlap": coach_taken,
    "sessions_client_overlap": client_taken,
    "sessions_coach_fkey": _field("coach_id", "No such coach in this practice."),
    "sessions_client_fkey": _field("client_id", "No such client in this practice."),
    "waitlist_entries_once": _conflict("ALREADY_WAITING", "The client waits for this session already."),
    "sessions_ends_after_start": _field("ends_at", "Must be later than starts_at."),
    "availability_notice_within_window": _field("max_days_ahead", "The notice must fit within max_days_ahead."),
    "payments_client_fkey": _field("client_id", "No such client in this practice."),
    "payments_refund_within_payment": _conflict("REFUND_EXCEEDS_PAYMENT", "More than is left of that payment."),
    "payments_takes_back": _conflict("VOIDED", "That line can't be taken back."),
    "payments_void_whole": _conflict("VOIDED", "It was refunded or voided before, in whole or in part."),
    "payments_voided_once": _conflict("VOIDED", "It was voided before."),
    "charges_voided_once": _conflict("VOIDED", "This charge was voided before."),
    "credit_entries_not_below_zero": _conflict("NOT_ENOUGH_CREDITS", "The client has not so many credits."),
    "subscriptions_one_running": _conflict("ALREADY_SUBSCRIBED", "The client has a running subscription to this plan."),
    "message_reports_once": _conflict("ALREADY_REPORTED", "You have reported this message already."),
    "messages_reply_fkey": _field("reply_to", "No such message in this conversation."),
    "drafts_reply_fkey": _field("reply_to", "No such message in this conversation."),
}


def error_for_constraint(name: str) -> WellioError | None:
    meaning = _MEANINGS.get(name)
    return meaning() if meaning else None
