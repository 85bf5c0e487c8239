"""The command's run: one JSON object on the output, everything else on the error output."""

import gc
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

import orjson

from wellio.evaluate.baselines import answer_as_rivals
from wellio.evaluate.history import read_facts
from wellio.evaluate.options import ChurnOptions, read_options
from wellio.evaluate.plots import check_plot, draw_churn
from wellio.evaluate.replay import Progress, answer, check_restore, us_per_step
from wellio.evaluate.scores import KINDS, score, scored, window
from wellio.learning.inputs import Fact
from wellio.practice.history_files import HistoryError

SHOWN_BAD_LINES = 20
TOLD_EVERY_S = 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when all was well, 1 when not, 2 for a wrong command, 130 when interrupted."""
    options = read_options(arguments)
    try:
        found = evaluate_churn(options)
    except HistoryError as error:
        _tell(f"evaluate: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _tell("evaluate: stopped.")
        raise SystemExit(130) from None
    sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
    if not _restored(found):
        _tell("evaluate: a restored learner went on differently.")
        raise SystemExit(1)


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
    _tell_bad_lines(bad_lines)
    gc.freeze()  # what is loaded by now stays: walking it again and again would count as the learner's time
    answers = answer(facts, horizon=options.horizon, at_risk=options.at_risk, progress=_progress("events", len(facts)))
    rivals = answer_as_rivals(answers, options.horizon, _progress("rivals", 4)) if options.baselines else {}
    first, last = window(facts[0].t, facts[-1].t, warmup=options.warmup, horizon=options.horizon)
    kinds = {kind: scored(answers, first=first, last=last, kind=kind) for kind in KINDS}
    found = {
        **_about(options, facts, len(bad_lines)),
        **{kind: score(answers, some, rivals) for kind, some in kinds.items()},
        "us_per_step": us_per_step(answers.times, len(answers.due), len(facts)),
    }
    if options.plot:
        draw_churn(options.plot, answers, kinds, rivals)
    if options.cuts:
        settings = {"horizon": options.horizon, "at_risk": options.at_risk}
        progress = _progress("events, restored", len(facts))
        found["restore"] = check_restore(facts, **settings, cuts=options.cuts, progress=progress)
    return found


def _about(options: ChurnOptions, facts: Sequence[Fact], bad_lines: int) -> dict[str, Any]:
    return {
        "file": options.path.name,
        "horizon_days": options.horizon,
        "at_risk_days": options.at_risk,
        "warmup_days": options.warmup,
        "modulus": options.modulus,
        "remainder": options.remainder,
        "events": len(facts),
        "active_events": sum(fact.active for fact in facts),
        "clients": len({fact.client for fact in facts}),
        "bad_lines": bad_lines,
    }


def _restored(found: dict[str, Any]) -> bool:
    restore = found.get("restore")
    return restore is None or (not restore["events_differing"] and restore["last_snapshot_equal"])


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _tell_bad_lines(bad_lines: Sequence[tuple[int, str]]) -> None:
    for number, reason in bad_lines[:SHOWN_BAD_LINES]:
        _tell(f"line {number:,} {reason}: left out")
    if len(bad_lines) > SHOWN_BAD_LINES:
        _tell(f"… and {len(bad_lines) - SHOWN_BAD_LINES:,} more bad lines.")


def _progress(what: str, total: int) -> Progress:
    """Tells every few seconds how far it is."""
    told_at = monotonic()

    def tell(done: int) -> None:
        nonlocal told_at
        if monotonic() - told_at > TOLD_EVERY_S:
            told_at = monotonic()
            _tell(f"{what}: {done:,} of {total:,}")

    return tell
