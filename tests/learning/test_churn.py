"""The learner: what it asks and when, what it learns and when, what it answers."""

import math
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from tests.learning.histories import MONDAY, PRACTICE, START, client, context, history, learn, visit
from wellio.learning import metrics
from wellio.learning.answers import MIN_LABELS, Key, Outcome, Prediction, band_of, rule_of
from wellio.learning.churn import ASK_CHUNK, LEARN_CHUNK, WEEK_CHUNK, Learner
from wellio.learning.clients import DAY
from wellio.learning.inputs import Fact, HorizonSet, Input, Tick
from wellio.learning.questions import join

WEEK = 7 * DAY
OTHER = UUID(int=0x0B)


def tick(t: float) -> Tick:
    return Tick(PRACTICE, t)


def asked(learner: Learner) -> list[tuple[float, str]]:
    """The questions that wait, as (when, kind)."""
    parts = [part for practice in learner.practices for queue in practice.queues for part in queue.parts()]
    questions = join(parts).questions
    return [(q["asked"].item(), "weekly" if q["kind"] else "event") for q in questions]


def in_use(until: float, every: float = DAY) -> list[Input]:
    """The coach writes to client 99 daily, so that the practice is in use."""
    return [context(START + i * every, "message_sent", 99) for i in range(int((until - START) / every) + 1)]


def sorted_by_time(*parts: Iterable[Input]) -> list[Input]:
    return sorted((item for part in parts for item in part), key=lambda item: item.t)


# What is asked


def test_each_active_event_asks_and_context_does_not() -> None:
    learner, _ = learn([visit(START), context(START + 60, "message_sent"), visit(START + DAY)])
    assert asked(learner) == [(START, "event"), (START + DAY, "event")]


def test_a_long_chat_asks_a_few_times_and_moves_the_prediction_with_each_message() -> None:
    learner, _ = learn(history())
    start = learner.practices[0].clock + 2 * DAY
    before = asked(learner)
    told = []
    for n in range(70):
        learner.apply_all([visit(start + 60 * n, kind="message_sent")])
        told += learner.predict(learner.drain_changed())[-1:]
    chat = [(at - start) / 60 for at, _ in asked(learner) if at not in dict(before)]
    assert chat == [*range(16), 31, 63]
    assert len({(answer.as_of, answer.probability) for answer in told}) == 70
    learner.apply_all([visit(start + 0.6 * DAY)])  # another visit
    assert asked(learner)[-1] == (start + 0.6 * DAY, "event")


def test_mondays_ask_about_everyone_at_risk() -> None:
    learner, _ = learn([visit(START), visit(START + 3600, 1), context(START + 3700, "message_sent", 2), tick(MONDAY)])
    assert [a for a in asked(learner) if a[1] == "weekly"] == [(MONDAY, "weekly")] * 2


def test_a_tick_before_monday_asks_nothing() -> None:
    learner, _ = learn([visit(START), tick(MONDAY - 1)])
    assert asked(learner) == [(START, "event")]


def test_an_event_on_monday_midnight_comes_after_the_weekly_question() -> None:
    learner, _ = learn([visit(START), visit(MONDAY)])
    assert asked(learner) == [(START, "event"), (MONDAY, "weekly"), (MONDAY, "event")]


def test_clients_silent_for_three_horizons_are_not_asked_about() -> None:
    _, outcomes = learn(sorted_by_time([visit(START)], in_use(START + 200 * DAY)), horizon_days=20.0)
    weekly = [o.asked_at for o in outcomes if o.kind == "weekly"]
    assert weekly == [MONDAY + i * WEEK for i in range(8)]
    assert max(weekly) - START <= 60 * DAY < max(weekly) + WEEK - START


def test_at_risk_can_be_set() -> None:
    facts = sorted_by_time([visit(START)], in_use(START + 60 * DAY))
    _, outcomes = learn([HorizonSet(PRACTICE, START, 10.0, at_risk_days=6.0), *facts])
    assert [o.asked_at for o in outcomes if o.kind == "weekly"] == [MONDAY]


# When it is learnt


def test_neither_label_is_learnt_before_the_horizon() -> None:
    learner = Learner(horizon_days=30.0)
    visits = [visit(START), visit(START, 1), visit(START + 2 * DAY, 1)]
    learner.apply_all(sorted_by_time(visits, in_use(START + 29 * DAY)))
    learner.apply_all([tick(START + 30 * DAY - 1)])
    assert (learner.labels, learner.model.n, learner.drain_outcomes()) == (0, 0, [])
    learner.apply_all([tick(START + 30 * DAY)])
    assert {o.client: o.churned for o in learner.drain_outcomes()} == {client(0): True, client(1): False}
    assert (learner.labels, learner.model.n) == (2, 2)


def test_an_event_at_the_very_end_of_the_horizon_comes_too_late() -> None:
    facts = [visit(START), *in_use(START + 29 * DAY)]
    assert learn([*facts, visit(START + 30 * DAY)])[1][0].churned
    assert not learn([*facts, visit(START + 30 * DAY - 1), tick(START + 30 * DAY)])[1][0].churned


def test_context_is_no_return() -> None:
    _, outcomes = learn([visit(START), *[context(START + i * DAY, "message_sent") for i in range(1, 32)]])
    assert outcomes[0].churned


def test_the_score_is_of_the_probability_when_asked() -> None:
    facts = history(clients=30, days=300.0)
    learner = Learner()
    told: dict[tuple[UUID, float], float] = {}
    outcomes: list[Outcome] = []
    for fact in facts:
        learner.apply_all([fact])
        outcomes += learner.drain_outcomes()
        [answer] = learner.predict([Key(PRACTICE, fact.client)])
        if fact.active and answer.status == "ok":
            told[fact.client, fact.t] = answer.probability
    shown = [o for o in outcomes if o.kind == "event" and o.shown]
    assert len(shown) > 50
    for outcome in shown:
        assert outcome.probability == pytest.approx(told[outcome.client, outcome.asked_at], abs=1e-12)


def test_labels_due_at_one_instant_are_learnt_in_an_order_of_their_own() -> None:
    # The same questions asked in two orders are learnt in one.
    numbers = list(range(40))
    orders = []
    for some in (numbers, numbers[::-1]):
        asked_at_once = [visit(t, n) for t in (START, START + DAY) for n in some]
        outcomes = learn([*asked_at_once, *in_use(START + 31 * DAY)[2:]])[1]
        orders.append([(o.asked_at, o.client) for o in outcomes if o.kind == "event"])
    assert len(orders[0]) == 80
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_weekly_labels_are_learnt_in_that_order_too() -> None:
    facts = sorted_by_time([visit(START + n, n) for n in range(200)], in_use(START + 40 * DAY))
    weekly = [o.client for o in learn(facts)[1] if o.asked_at == MONDAY]
    assert len(weekly) == 200
    ages = np.argsort([c.int for c in weekly]).argsort()
    assert abs(np.corrcoef(ages, np.arange(200))[0, 1]) < 0.2


# What is censored


def test_the_end_of_a_programme_is_not_churn() -> None:
    facts = sorted_by_time([visit(START), context(START + 3 * DAY, "client_ended")], in_use(START + 60 * DAY))
    learner, outcomes = learn(facts)
    assert outcomes == []
    assert [a for a in asked(learner) if a[1] == "weekly"] == []


def test_who_comes_back_after_an_end_is_asked_about_again() -> None:
    again = START + 20 * DAY
    facts = sorted_by_time([visit(START), context(START + DAY, "client_ended"), visit(again)], in_use(START + 70 * DAY))
    _, outcomes = learn(facts)
    assert min(o.asked_at for o in outcomes) == again
    assert {o.kind for o in outcomes} == {"event", "weekly"}


def test_only_what_is_not_censored_is_learnt_from() -> None:
    learner, _ = learn([visit(START, n, amount=10.0 * (n + 1)) for n in range(20)])
    [queue] = learner.practices[0].queues
    waiting = join(queue.parts())
    learner.apply_all([context(START + DAY, "client_ended", n) for n in range(0, 20, 2)])
    learner.apply_all([tick(START + 3 * DAY), *in_use(START + 30 * DAY)[4:]])
    kept = waiting.x[waiting.questions["client"] % 2 == 1]
    assert learner.model.n == 10
    mean = learner.model.linear.scaler.mean
    np.testing.assert_allclose(mean, kept.mean(axis=0, dtype=float), rtol=1e-6, atol=1e-9)


def days_in_use(*days: int) -> list[Input]:
    return [context(START + day * DAY, "message_sent", 99) for day in days]


def test_a_practice_not_in_use_teaches_nothing() -> None:
    # Asked on day 5, due on day 35; nobody was there from day 9 to day 31.
    _, outcomes = learn([*days_in_use(0), visit(START + 5 * DAY), *days_in_use(9, *range(31, 45))])
    assert outcomes == []
    _, outcomes = learn([*days_in_use(0), visit(START + 5 * DAY), *days_in_use(9, 20, *range(31, 45))])
    assert (START + 5 * DAY, True) in [(o.asked_at, o.churned) for o in outcomes]


def test_labels_due_while_nobody_is_there_are_censored() -> None:
    # Asked on day 0, due on day 30, in the middle of 29 days without an event.
    facts = [visit(START), *days_in_use(*range(1, 9))]
    assert learn([*facts, *days_in_use(37)])[1] == []
    assert [o.asked_at for o in learn([*facts, *days_in_use(29, 37)])[1] if o.kind == "event"] == [START]


def test_nobody_is_asked_about_while_nobody_is_there() -> None:
    learner = Learner(horizon_days=720.0)
    learner.apply_all([visit(START), visit(START + 700 * DAY), *days_in_use(*range(701, 709))])
    weekly = [at for at, kind in asked(learner) if kind == "weekly"]
    first_after = MONDAY + 100 * WEEK
    assert first_after > START + 700 * DAY
    assert sorted(set(weekly)) == [MONDAY, MONDAY + WEEK, MONDAY + 2 * WEEK, first_after]
    learner = Learner(horizon_days=90.0)
    learner.apply_all([visit(START), *[tick(START + day * DAY) for day in range(1, 80)]])
    assert [at for at, kind in asked(learner) if kind == "weekly"] == [MONDAY, MONDAY + WEEK, MONDAY + 2 * WEEK]


def test_twenty_days_without_an_event_are_still_use() -> None:
    _, outcomes = learn([visit(START), visit(START + 20 * DAY, 1), visit(START + 40 * DAY, 1)])
    assert any(o.client == client(0) and o.churned for o in outcomes)


# The clock


def test_practices_have_clocks_of_their_own() -> None:
    past, present = history(clients=10, days=100.0), history(clients=10, days=100.0, practice=OTHER)
    present = [replace(fact, t=fact.t + 2000 * DAY) for fact in present]
    mixed = [fact for pair in zip(past, present, strict=True) for fact in pair]
    assert clocks_and_questions(learn(past)[0])[PRACTICE] == clocks_and_questions(learn(mixed)[0])[PRACTICE]
    assert clocks_and_questions(learn(present)[0])[OTHER] == clocks_and_questions(learn(mixed)[0])[OTHER]


def clocks_and_questions(learner: Learner) -> dict[UUID, tuple[float, int]]:
    return {p.id: (p.clock, sum(len(queue) for queue in p.queues)) for p in learner.practices}


def test_an_old_fact_moves_no_clock_and_asks_nothing() -> None:
    learner, _ = learn([visit(START + 10 * DAY), visit(START, 1)])
    assert learner.practices[0].clock == START + 10 * DAY
    assert [a for a in asked(learner) if a[1] == "event"] == [(START + 10 * DAY, "event")]


def test_a_return_reported_late_is_still_a_return() -> None:
    known = sorted_by_time([visit(START)], in_use(START + 29 * DAY))
    _, outcomes = learn([*known, visit(START + 20 * DAY), tick(START + 30 * DAY)])
    assert not outcomes[0].churned
    assert learn([*known, tick(START + 30 * DAY)])[1][0].churned


def test_ticks_do_not_age_a_practice_that_lies_idle_or_is_replayed() -> None:
    learner, _ = learn([tick(START), visit(START), tick(START + 4000 * DAY), visit(START + DAY)])
    assert learner.practices[0].clock == START + DAY
    assert asked(learner) == [(START, "event"), (START + DAY, "event")]


def test_clients_entered_today_do_not_date_their_imported_past() -> None:
    today = START + 1000 * DAY
    entered = [context(today, "client_created", n) for n in range(3)]
    past = [visit(START + i * DAY, i % 3) for i in range(60)]
    learner, outcomes = learn([*entered, *past])
    assert learner.practices[0].clock == START + 59 * DAY
    assert outcomes


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf, -1e18, 0.0, 1e18])
def test_an_absurd_time_is_taken_as_now(absurd: float) -> None:
    learner, _ = learn([visit(absurd), visit(START), visit(absurd), tick(absurd), visit(START + DAY)])
    assert learner.practices[0].clock == START + DAY
    assert asked(learner) == [(START, "event"), (START, "event"), (START + DAY, "event")]


# The horizon


def test_a_new_horizon_holds_for_new_questions() -> None:
    facts: list[Input] = [visit(START), HorizonSet(PRACTICE, START, 10.0), visit(START + DAY)]
    _, outcomes = learn([*facts, tick(START + 21 * DAY), *in_use(START + 31 * DAY)[21:]])
    found = [(o.asked_at, o.due_at) for o in outcomes if o.kind == "event"]
    assert found == [(START + DAY, START + 11 * DAY), (START, START + 30 * DAY)]


def test_many_changes_of_the_horizon_leave_few_queues() -> None:
    changes = [HorizonSet(PRACTICE, START, 10.0 + day) for day in range(300)]
    days = [visit(START + day * DAY) for day in range(300)]
    learner, _ = learn([item for pair in zip(changes, days, strict=True) for item in pair])
    assert len(learner.practices[0].queues) < 160


@pytest.mark.parametrize("absurd", [math.nan, math.inf, 0.0, -3.0, 1e9])
def test_an_absurd_bound_of_risk_is_three_horizons(absurd: float) -> None:
    learner, _ = learn([HorizonSet(PRACTICE, START, 10.0, absurd)])
    assert learner.practices[0].at_risk == 30 * DAY


@pytest.mark.parametrize("absurd", [math.nan, math.inf, 0.0, -3.0, 1e9])
def test_an_absurd_horizon_is_ignored(absurd: float) -> None:
    learner, _ = learn([visit(START), HorizonSet(PRACTICE, START, absurd)])
    assert learner.practices[0].horizon == 30 * DAY


# What is answered


def test_says_when_there_is_not_enough_history() -> None:
    learner, _ = learn([*[visit(START + 5 * i * DAY) for i in range(3)], visit(START + 20 * DAY, 1)])
    assert learner.labels < MIN_LABELS
    [answer] = learner.predict([Key(PRACTICE, client(0))])
    assert answer.status == "not_enough_history"
    assert answer.probability == rule_of(10.0, 30.0)
    assert answer.reasons[0].text == "silent for 10 days; not enough history for more"


def test_a_newcomer_is_answered_by_the_rule_though_the_model_is_ready() -> None:
    learner, _ = learn(history())
    now = learner.practices[0].clock
    learner.apply_all([visit(now + i * DAY, 1000) for i in range(2)])
    [answer] = learner.predict([Key(PRACTICE, client(1000))])
    assert (answer.status, answer.probability) == ("not_enough_history", rule_of(0.0, 30.0))
    learner.apply_all([visit(now + 2 * DAY, 1000)])
    assert learner.predict([Key(PRACTICE, client(1000))])[0].status == "ok"


def test_the_rule_rises_with_silence_and_starts_at_one_in_three() -> None:
    assert rule_of(0.0, 30.0) == pytest.approx(1 / 3)
    assert rule_of(15.0, 30.0) == pytest.approx(1 / 2)
    assert rule_of(10.0, 30.0) < rule_of(11.0, 30.0) < 1.0


def test_bands_are_cut_at_one_to_two_and_two_to_one() -> None:
    assert [band_of(p) for p in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [
        "low",
        "low",
        "medium",
        "medium",
        "high",
        "high",
    ]


def test_outcomes_tell_what_was_shown() -> None:
    _, outcomes = learn(history(clients=40, days=300.0))
    by_client: dict[UUID, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda o: (o.asked_at, o.kind)):
        by_client.setdefault(outcome.client, []).append(outcome)
    for kind in ("event", "weekly"):
        some = [o for o in outcomes if o.kind == kind]
        assert {o.shown for o in some} == {True, False}
    for client_outcomes in by_client.values():
        events = [o for o in client_outcomes if o.kind == "event"]
        assert not any(o.shown for o in events[:2])
        weekly = [
            o for o in client_outcomes if o.kind == "weekly" and len(events) > 2 and o.asked_at < events[2].asked_at
        ]
        assert not any(o.shown for o in weekly)


def test_silence_raises_the_risk_of_a_regular() -> None:
    learner, _ = learn(history())
    now = learner.practices[0].clock
    learner.apply_all([visit(now + 7 * i * DAY, 1000) for i in range(12)])
    key = [Key(PRACTICE, client(1000))]
    silent = []
    for days in (1, 7, 14, 28):
        learner.apply_all([context(now + (77 + days) * DAY, "message_sent", 1)])
        silent.append(learner.predict(key)[0].probability)
    assert silent == sorted(silent)
    assert silent[-1] > silent[0] + 0.2


def test_predictions_come_in_the_order_asked_and_strangers_are_left_out() -> None:
    learner, _ = learn([visit(START), visit(START, 1), *[replace(visit(START, n), practice=OTHER) for n in (2, 3)]])
    known = [Key(OTHER, client(2)), Key(PRACTICE, client(1)), Key(OTHER, client(3)), Key(PRACTICE, client(0))]
    strangers = [Key(PRACTICE, client(7)), Key(UUID(int=5), client(0)), Key(OTHER, client(0))]
    found = learner.predict([*strangers, *known])
    assert [(p.practice, p.client) for p in found] == known
    assert learner.predict([]) == []


def test_predicting_changes_nothing() -> None:
    learner, _ = learn(history())
    before = learner.dump()
    learner.predict([Key(PRACTICE, c) for c in learner.practices[0].clients])
    assert learner.dump() == before


def test_an_event_changes_its_client_and_a_monday_everyone_at_risk() -> None:
    learner, _ = learn([visit(START), visit(START + 60, 1)])
    assert learner.drain_changed() == [Key(PRACTICE, client(0)), Key(PRACTICE, client(1))]
    learner.apply_all([visit(START + DAY, 1), visit(START + DAY, 1)])
    assert learner.drain_changed() == [Key(PRACTICE, client(1))]
    learner.apply_all([tick(MONDAY - 1)])
    learner.drain_changed()
    learner.apply_all([tick(MONDAY)])
    assert sorted(learner.drain_changed()) == [Key(PRACTICE, client(0)), Key(PRACTICE, client(1))]


def test_changes_can_be_drained_piece_by_piece() -> None:
    learner, _ = learn([visit(START + i, i) for i in range(5)])
    pieces = [learner.drain_changed(2) for _ in range(4)]
    assert [[key.client for key in piece] for piece in pieces] == [
        [client(0), client(1)],
        [client(2), client(3)],
        [client(4)],
        [],
    ]


def test_an_answer_is_the_same_to_the_last_bit_whoever_else_is_asked_about() -> None:
    learner, _ = learn(history())
    keys = [Key(PRACTICE, c) for c in learner.practices[0].clients]
    together = learner.predict(keys)
    assert any(p.usual is not None for p in together)
    assert [learner.predict([key])[0] for key in keys] == together
    just_asked = learner.practices[0].clock + DAY
    learner.apply_all([visit(just_asked)])
    learner.drain_outcomes()
    at_hand = learner.predict([Key(PRACTICE, client(0))])
    assert at_hand == Learner.load(learner.dump()).predict([Key(PRACTICE, client(0))])
    learner.apply_all([context(just_asked, "message_sent")])
    changed = learner.predict([Key(PRACTICE, client(0))])
    assert changed == Learner.load(learner.dump()).predict([Key(PRACTICE, client(0))])
    assert changed != at_hand


def test_many_outcomes_can_be_drained_a_few_at_a_time() -> None:
    facts = history()
    whole = learn(facts)[1]
    learner = Learner(horizon_days=30.0)
    learner.apply_all(facts)
    pieces = []
    while some := learner.drain_outcomes(100):
        pieces.append(some)
    assert [outcome for piece in pieces for outcome in piece] == whole
    assert len(pieces) > 3
    assert all(100 <= len(piece) < 100 + LEARN_CHUNK for piece in pieces[:-1])


# How well it learns


def test_beats_the_simple_rule_and_is_calibrated() -> None:
    _, outcomes = learn(history(clients=150, days=600.0))
    shown = [o for o in outcomes if o.shown and o.asked_at > START + 150 * DAY]
    y = np.array([o.churned for o in shown])
    p, rule = np.array([o.probability for o in shown]), np.array([o.rule for o in shown])
    assert len(shown) > 3000
    assert metrics.log_loss(p, y) < metrics.log_loss(rule, y) - 0.05
    assert metrics.auc(p, y) > metrics.auc(rule, y) + 0.01
    assert metrics.ece(p, y) < 0.06


def test_a_practice_unlike_the_others_gets_an_intercept_of_its_own() -> None:
    loyal = history(clients=80, days=500.0, seed=2, leave_days=2000.0)
    fickle = history(clients=80, days=500.0, seed=3, leave_days=40.0, practice=OTHER)
    learner, _ = learn(sorted_by_time(loyal, fickle))
    intercepts = {practice.id: practice.intercept.value for practice in learner.practices}
    assert intercepts[PRACTICE] < 0.0 < intercepts[OTHER]


# Work in pieces


def test_a_checkpoint_is_done_in_pieces() -> None:
    many = 2 * ASK_CHUNK + 1
    learner, _ = learn([visit(START + n, n) for n in range(many)])
    weeks, asked_and_ranked = many // WEEK_CHUNK + 1, many // ASK_CHUNK + 1
    assert sum(1 for _ in learner.apply(tick(MONDAY))) == weeks + 2 + 2 * asked_and_ranked
    assert len([a for a in asked(learner) if a[1] == "weekly"]) == many
    learner.apply_all(in_use(START + 29 * DAY)[20:])
    due = sum(1 for _ in learner.apply(tick(START + 31 * DAY)))
    assert due >= many / LEARN_CHUNK
    assert learner.labels == many


def test_an_input_left_halfway_is_noticed() -> None:
    learner, _ = learn([visit(START + n, n) for n in range(ASK_CHUNK + 1)])
    work = learner.apply(tick(MONDAY))
    next(work)
    with pytest.raises(RuntimeError, match="not applied to its end"):
        learner.apply_all([visit(MONDAY)])
    with pytest.raises(AssertionError):
        learner.dump()


def test_everything_said_is_one_plain_value() -> None:
    learner, outcomes = learn(history())
    answers = learner.predict([Key(PRACTICE, c) for c in learner.practices[0].clients])
    for value in [*answers, *outcomes]:
        assert isinstance(value, Prediction | Outcome)
        assert 0.0 < value.probability < 1.0
        assert {type(part) for part in value} <= {UUID, str, float, bool, tuple, type(None)}
    assert any(p.status == "ok" and p.reasons for p in answers)
    assert isinstance(Fact(PRACTICE, client(0), START, "x", True).amount, float)
