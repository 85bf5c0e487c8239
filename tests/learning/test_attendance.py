"""The attendance model: learns who comes, forgets what was taken back, knows nothing of the future."""

import random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellio.learning.attendance import Attendance, Posterior
from wellio.learning.attendance_features import DAY, NAMES, Booking, features_of, hats, new_history
from wellio.learning.attendance_rows import restored
from wellio.learning.container import SnapshotDamaged, SnapshotVersion
from wellio.learning.metrics import auc

PRACTICE, OTHER = UUID(int=1), UUID(int=2)
START = 1_800_000_000.0


def booking(client: int, at: float, *, lead: float = 3.0, practice: UUID = PRACTICE, hour: float = 10.0) -> Booking:
    starts = at + lead * DAY
    return Booking(practice, UUID(int=client), at, starts, lead, 9.0, hour, int(starts // DAY + 3) % 7)


def lived(model: Attendance, *, seed: int, n: int = 1500) -> list[tuple[float, bool]]:
    """Clients 0 to 19 come by habits of their own, less so after a long wait; what was said of each booking."""
    rng = random.Random(seed)
    habit = [rng.choice((0.55, 0.95)) for _ in range(20)]
    said = []
    for i in range(n):
        client, at, lead = rng.randrange(20), START + i * 3600.0, rng.choice((0.0, 2.0, 20.0))
        asked = model.book(i, booking(client, at, lead=lead))
        attended = rng.random() < habit[client] - 0.01 * lead
        said.append((asked.probability, attended))
        model.settle(i, attended=attended, t=at + lead * DAY + 3600.0)
    return said


@pytest.mark.parametrize("seed", range(3))
def test_learns_who_comes_and_is_calibrated(seed: int) -> None:
    said = lived(Attendance(), seed=seed, n=2500)[800:]
    p, y = np.array([p for p, _ in said]), np.array([a for _, a in said])
    assert auc(p, y) > 0.68
    assert abs(float(p.mean() - y.mean())) < 0.04
    top = p > np.quantile(p, 0.7)
    assert float(y[top].mean() - y[~top].mean()) > 0.1


@given(data=st.data())
@settings(max_examples=30)
def test_what_is_taken_back_leaves_nothing(data: st.DataObject) -> None:
    """The posterior is that of the other outcomes alone, in whatever order they came and went."""
    vectors = st.lists(st.floats(-4, 4), min_size=3, max_size=3).map(np.array)
    some = data.draw(st.lists(st.tuples(vectors, st.booleans()), min_size=2, max_size=8))
    left, gone = Posterior(np.full(3, 0.5)), Posterior(np.full(3, 0.5))
    keep = data.draw(st.integers(0, len(some) - 1))
    factors = [left.learn(z, y) for z, y in some]
    for factor in factors[keep + 1 :] + factors[:keep]:
        left.take_back(factor)
    gone._add(factors[keep], 1.0)
    np.testing.assert_allclose(left.weights, gone.weights, atol=1e-9)
    np.testing.assert_allclose(left.covariance, gone.covariance, atol=1e-9)


def test_a_miss_taken_back_is_as_if_it_had_not_come_out() -> None:
    model = Attendance()
    lived(model, seed=1, n=400)
    model.book("x", booking(3, START + 400 * 3600.0))
    before = model.model.weights.copy(), list(model.clients[PRACTICE, UUID(int=3)]), list(model.practices[PRACTICE])
    model.settle("x", attended=False, t=START + 500 * 3600.0)
    assert not np.array_equal(before[0], model.model.weights)
    model.take_back("x")
    model.take_back("x")
    np.testing.assert_allclose(model.model.weights, before[0], atol=1e-12)
    later = restored(model)
    for row, was in zip((model.clients[PRACTICE, UUID(int=3)], model.practices[PRACTICE]), before[1:], strict=True):
        decayed = 0.5 ** ((row[0] - was[0]) / (180.0 * DAY))
        scales = np.ones(len(was))
        scales[1:5] = decayed
        np.testing.assert_allclose(row[1:], (np.array(was) * scales)[1:], atol=1e-9)
    # The same outcome again, and the other one instead.
    model.settle("x", attended=True, t=START + 501 * 3600.0)
    later.settle("x", attended=False, t=START + 501 * 3600.0)
    later.settle("x", attended=True, t=START + 501 * 3600.0)
    np.testing.assert_allclose(model.model.weights, later.model.weights, atol=1e-12)
    assert model.n == later.n == 401


def test_goes_on_from_what_is_stored_to_the_last_bit() -> None:
    whole = Attendance()
    lived(whole, seed=5, n=600)
    cut = restored(whole)
    assert lived(whole, seed=6, n=200) == lived(cut, seed=6, n=200)
    assert whole.dump() == cut.dump()


def test_a_state_that_is_damaged_or_of_another_version_is_told() -> None:
    data = Attendance().dump()
    for broken in (b"", data[:-1], data[:100] + b"\1" + data[101:], b"\0" * len(data)):
        with pytest.raises(SnapshotDamaged):
            Attendance.load(broken)
    with pytest.raises(SnapshotVersion):
        Attendance.load(_with_version(data, 99))


def _with_version(data: bytes, version: int) -> bytes:
    import hashlib

    body = data[:8] + version.to_bytes(4, "little") + data[12:-16]
    return body + hashlib.blake2b(body, digest_size=16).digest()


def test_new_clients_and_practices_are_taken_for_their_practice_and_the_prior() -> None:
    model = Attendance()
    assert model.ask(booking(1, START)).probability == pytest.approx(0.85)
    for i in range(40):
        model.book(i, booking(1, START + i * DAY, lead=0.5))
        model.settle(i, attended=False, t=START + (i + 1) * DAY)
    new = model.ask(booking(2, START + 50 * DAY)).probability
    assert model.ask(booking(1, START + 50 * DAY)).probability < new < 0.4
    assert model.ask(booking(1, START, practice=OTHER)).probability == pytest.approx(0.85)
    assert not model.ask(booking(1, START)).known


@pytest.mark.parametrize("lead", [0.0, 1.0, 7.0])
def test_who_often_stays_away_is_told_so_as_soon_as_the_model_answers(lead: float) -> None:
    """One of forty comes four times in ten, the others mostly: 300 outcomes are few for weights, not for a client."""
    model, rng = Attendance(), random.Random(4)
    for i in range(300):
        client, at = 0 if i % 10 == 0 else 1 + i % 40, START + i * DAY / 2.0
        model.book(i, booking(client, at, lead=rng.choice((0.0, 1.0, 7.0))))
        model.settle(i, attended=rng.random() < (0.95 if client else 0.4), t=at + 8 * DAY)
    seldom, mostly = (model.ask(booking(client, START + 160 * DAY, lead=lead)) for client in (0, 7))
    assert seldom.known
    assert seldom.probability < 0.72 < 0.9 < mostly.probability


@given(
    at=st.floats(0, 4e9),
    lead=st.floats(0, 3000),
    hour=st.floats(0, 23.99),
    pending=st.lists(st.floats(0, 4e9), max_size=3),
    outcomes=st.lists(st.booleans(), max_size=4),
)
@settings(max_examples=60)
def test_features_are_finite_whatever_the_past(
    at: float, lead: float, hour: float, pending: list[float], outcomes: list[bool]
) -> None:
    history = new_history(at)
    history[1:9] = [float(sum(outcomes)), float(len(outcomes)), 1.0, 2.0, 1.0, at + 5 * DAY, 3.0, at + DAY]
    x = features_of(booking(1, at, lead=lead, hour=hour), history, 0.8, pending)
    assert len(x) == len(NAMES)
    assert np.isfinite(x).all()
    assert sum(hats(hour, (6.0, 8.0, 20.0))) == pytest.approx(1.0)
