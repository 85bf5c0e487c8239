"""`bin/evaluate churn`: the learner's answers to a history's questions, beside its rivals'."""

import argparse
import gc
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wellio.evaluate.baselines import answer_as_rivals
from wellio.evaluate.churn_options import DESCRIPTION, ChurnOptions, add_arguments, options_of
from wellio.evaluate.churn_plots import draw_churn
from wellio.evaluate.drift import planted
from wellio.evaluate.history import read_facts
from wellio.evaluate.options import Command, Evaluation
from wellio.evaluate.plots import check_plot
from wellio.evaluate.ranks import score_ranks
from wellio.evaluate.replay import answer, check_restore, us_per_step
from wellio.evaluate.scores import KINDS, score, score_weeks, scored, window
from wellio.evaluate.telling import progress_of, tell_bad_lines
from wellio.learning.inputs import Fact


def run(churn: argparse.ArgumentParser, given: argparse.Namespace) -> Evaluation:
    """Raises HistoryError."""
    found = evaluate_churn(options_of(churn, given))
    restore = found.get("restore")
    if restore is None or (not restore["events_differing"] and restore["last_snapshot_equal"]):
        return Evaluation(found)
    return Evaluation(found, "a restored learner went on differently.")


CHURN = Command("churn", "predictions that clients stay away", DESCRIPTION, add_arguments, run)


def evaluate_churn(options: ChurnOptions) -> dict[str, Any]:
    """Raises HistoryError."""
    if options.plot:
        check_plot(options.plot)
    bad_lines: list[tuple[int, str]] = []
    facts = read_facts(
        options.path,
        options.active,
        modulus=options.modulus,
        remainder=options.remainder,
        bad_line=lambda number, reason: bad_lines.append((number, reason)),
    )
    tell_bad_lines(bad_lines)
    if options.leaving:
        facts = planted(facts, options.leaving)
    gc.freeze()  # what is loaded by now stays: walking it again and again would count as the learner's time
    progress = progress_of("events", len(facts))
    answers = answer(facts, horizon=options.horizon, at_risk=options.at_risk, progress=progress)
    rivals = answer_as_rivals(answers, options.horizon, progress_of("rivals", 4)) if options.baselines else {}
    first, last = window(facts[0].t, facts[-1].t, warmup=options.warmup, horizon=options.horizon)
    kinds = {kind: scored(answers, first=first, last=last, kind=kind) for kind in KINDS}
    found: dict[str, Any] = {
        **_about(options, facts, len(bad_lines)),
        **{kind: score(answers, some, rivals) for kind, some in kinds.items()},
        "engagement": score_ranks(answers, facts, first=first, last=last, horizon=options.horizon),
        "us_per_step": us_per_step(answers.times, len(answers.due), len(facts)),
    }
    if options.by_week:
        found["weeks"] = score_weeks(answers, kinds["weekly"], rivals)
    if options.plot:
        draw_churn(options.plot, answers, kinds, rivals)
    if options.cuts:
        settings = {"horizon": options.horizon, "at_risk": options.at_risk}
        progress = progress_of("events, restored", len(facts))
        found["restore"] = check_restore(facts, **settings, cuts=options.cuts, progress=progress)
    return found


def _about(options: ChurnOptions, facts: Sequence[Fact], bad_lines: int) -> dict[str, Any]:
    return {
        "file": options.path.name,
        "horizon_days": options.horizon,
        "at_risk_days": options.at_risk,
        "warmup_days": options.warmup,
        **({"leaving": asdict(options.leaving)} if options.leaving else {}),
        "modulus": options.modulus,
        "remainder": options.remainder,
        "events": len(facts),
        "active_events": sum(fact.active for fact in facts),
        "clients": len({fact.client for fact in facts}),
        "bad_lines": bad_lines,
    }
