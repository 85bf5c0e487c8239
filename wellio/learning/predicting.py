"""What the models say of a practice's clients now: probability, reasons, the counterfactual, the rank."""

from typing import NamedTuple

import numpy as np

from wellio.learning.answers import MIN_ACTIVES, Prediction, Reason, Status, band_of, rule_of
from wellio.learning.clients import ACTIVES, DAY, LAST
from wellio.learning.engagement import Engagement
from wellio.learning.ensemble import Ensemble, Look
from wellio.learning.features import Floats, Norms, features_of
from wellio.learning.model import sigmoid
from wellio.learning.practices import Practice
from wellio.learning.reasons import reasons_of, simple_reason, sum_groups
from wellio.learning.usual_days import as_if_sooner, late_s

_new = tuple.__new__  # named tuples by the thousand: half the time of calling the class


class View(NamedTuple):
    """How a practice is looked at: what is usual there, what its intercept adds to the log-odds, and whether the models
    have learnt enough to be asked.
    """

    norms: Norms
    offset: float
    ready: bool


class Predictor:
    """Keeps nothing but what was asked about last, for the prediction that mostly follows."""

    def __init__(self, model: Ensemble, engagement: Engagement) -> None:
        self._model = model
        self._engagement = engagement
        self._asked: tuple[tuple[int, int, float, float], Floats, Look] | None = None

    def forget(self) -> None:
        """To be called before anything is learnt."""
        self._asked = None

    def ask(self, practice: Practice, row: int, state: list[float], t: float, view: View) -> tuple[float, Floats]:
        """The probability for one client's `state` at `t`, and the features [COUNT]."""
        horizon = practice.horizon / DAY
        x = np.array(features_of(state, t, view.norms, horizon))[None, :]
        look = self._model.look(x, horizon)
        self._asked = (practice.index, row, t, practice.horizon), x, look
        return sigmoid(self._model.logits_of(look)[0] + view.offset), x[0]

    def predict(self, practice: Practice, rows: list[int], view: View) -> list[Prediction]:
        """At the practice's clock; of each client the same to the last bit, whoever else is asked about."""
        matrix = practice.state[rows]
        states = matrix.tolist()
        known = [i for i, s in enumerate(states) if s[ACTIVES] >= MIN_ACTIVES] if view.ready else []
        explained = self._explain(practice, rows, states, known, view) if known else {}
        usual = self._usual(practice, matrix, states, known, view)
        engagements = self.engagements(practice, states)
        now, horizon = practice.clock, practice.horizon / DAY
        predictions = []
        for i, row in enumerate(rows):
            status: Status = "ok" if i in explained else "not_enough_history"
            probability, reasons = explained.get(i) or _simple(states[i], now, horizon)
            client, band = practice.clients[row], band_of(probability)
            answer = (practice.id, client, probability, band, status, reasons, horizon, now)
            predictions.append(_new(Prediction, (*answer, usual.get(i), engagements[i])))
        return predictions

    def engagements(self, practice: Practice, states: list[list[float]]) -> list[float]:
        """0 for who has never done anything."""
        activity, score, now = self._engagement.activity, practice.standing.score, practice.clock
        return [score(activity(state, now)) if state[ACTIVES] else 0.0 for state in states]

    def _usual(
        self, practice: Practice, matrix: Floats, states: list[list[float]], known: list[int], view: View
    ) -> dict[int, float]:
        """Of the rows `known` those silent for longer than usual, with the probability on their usual day."""
        late = {i: by for i in known if (by := late_s(states[i], practice.clock))}
        if not late:
            return {}
        then = as_if_sooner(matrix[list(late)], list(late.values()))
        look = self._look(practice, then.tolist(), view)[1]
        return {i: sigmoid(logit + view.offset) for i, logit in zip(late, self._model.logits_of(look), strict=True)}

    def _explain(
        self, practice: Practice, rows: list[int], states: list[list[float]], known: list[int], view: View
    ) -> dict[int, tuple[float, tuple[Reason, ...]]]:
        """Probability and reasons of those `known` among rows and their states."""
        some = [states[i] for i in known]
        x, look = self._asked_now(practice, rows) or self._look(practice, some, view)
        found = self._model.explain(look)
        average = found.average + view.offset
        weights = sum_groups(found.added).tolist()
        probabilities = [sigmoid(sum(parts) + average) for parts in weights]
        each = zip(known, probabilities, weights, some, x.tolist(), found.z.tolist(), strict=True)
        return {i: (probability, reasons_of(*parts)) for i, probability, *parts in each}

    def _asked_now(self, practice: Practice, rows: list[int]) -> tuple[Floats, Look] | None:
        """What is known of the one client of `rows`, if the latest question was about them, and now."""
        if self._asked is None or len(rows) > 1:
            return None
        asked, x, look = self._asked
        return (x, look) if asked == (practice.index, rows[0], practice.clock, practice.horizon) else None

    def _look(self, practice: Practice, states: list[list[float]], view: View) -> tuple[Floats, Look]:
        """Features [n, COUNT] at the practice's clock, and a look at them."""
        now, horizon = practice.clock, practice.horizon / DAY
        x = np.array([features_of(state, now, view.norms, horizon) for state in states])
        return x, self._model.look(x, horizon)


def _simple(state: list[float], now: float, horizon: float) -> tuple[float, tuple[Reason, ...]]:
    silent = max((now - state[LAST]) / DAY, 0.0)
    return rule_of(silent, horizon), simple_reason(silent)
