"""The command's run: one JSON object on the output, everything else on the error output."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import orjson

from wellio.evaluate.attendance import ATTENDANCE
from wellio.evaluate.churn import CHURN
from wellio.evaluate.options import Evaluation
from wellio.evaluate.revenue import REVENUE
from wellio.evaluate.telling import tell
from wellio.practice.history_files import HistoryError

COMMANDS = (CHURN, ATTENDANCE, REVENUE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when all was well, 1 when not, 2 for a wrong command, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    try:
        evaluation: Evaluation = given.run(given)
    except HistoryError as error:
        tell(f"evaluate: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        tell("evaluate: stopped.")
        raise SystemExit(130) from None
    sys.stdout.buffer.write(orjson.dumps(evaluation.found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
    if evaluation.failure:
        tell(f"evaluate: {evaluation.failure}")
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate", description="Replays a history through Wellio's models and prints one JSON object of figures."
    )
    what = parser.add_subparsers(required=True, metavar="|".join(command.name for command in COMMANDS))
    for command in COMMANDS:
        one = what.add_parser(command.name, help=command.help, description=command.description)
        command.add_arguments(one)
        one.set_defaults(run=partial(command.run, one))
    return parser
