"""What the learner reads: facts about clients, ticks of the clock, settings of a practice.

The learner's state is a deterministic function of the sequence of these values: no wall clock, no chance, no order of
hashing. Times are unix seconds in UTC and should not lie after the moment the event was recorded (the store clamps
them), because a fact moves its practice's clock forward and nothing moves it back.
"""

from dataclasses import dataclass
from uuid import UUID

# Kinds with a meaning of their own; any other kind is plain activity (or plain context, if not active).
SESSION_BOOKED = "session_booked"
SESSION_ATTENDED = "session_attended"
SESSION_MISSED = "session_missed"
SESSION_CANCELLED = "session_cancelled"
MISS_UNDONE = "miss_undone"  # was not missed after all; `t` is that of the SESSION_MISSED it takes back
MESSAGE_SENT = "message_sent"  # active: by the client; not active: by the coach
PAYMENT = "payment"
REFUND = "refund"
LOGGED_IN = "logged_in"
DIARY_ENTRY = "diary_entry"
ONBOARDING_STEP = "onboarding_step"
CLIENT_CREATED = "client_created"  # starts the tenure; moves no clock, for its time may be that of an import
CLIENT_ENDED = "client_ended"  # paused, archived, end of a contract or programme: censors, is no churn
ACTIVITY = "activity"


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of one client.

    `active` says whether the client did it (it then answers the question "will they come back?") or whether it is
    context: what the coach or the system did. `amount` is money in major units, `late_days` how long after its due
    date a payment came; both are read only where finite.
    """

    practice: UUID
    client: UUID
    t: float
    kind: str
    active: bool
    amount: float = 0.0
    late_days: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    """The practice's time has come to `t`: labels fall due and weekly questions are asked though nobody did a thing.

    Heeded up to 21 days after the practice's last event; after that nobody is there.
    """

    practice: UUID
    t: float


@dataclass(frozen=True, slots=True)
class HorizonSet:
    """From now on the practice asks about the next `horizon_days`; questions already asked keep their own horizon.

    `t` moves no clock. `at_risk_days` bounds the silence up to which a client is asked about weekly; three horizons
    unless given.
    """

    practice: UUID
    t: float
    horizon_days: float
    at_risk_days: float | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """The client was erased: their state, their questions and their id leave the learner. `t` moves no clock.

    What the weights learnt of them stays: it is nobody's any more.
    """

    practice: UUID
    client: UUID
    t: float


Input = Fact | Tick | HorizonSet | Forget
