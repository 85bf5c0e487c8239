"""What every `bin/evaluate` command has in common on its command line."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`found` is printed as JSON. `failure`: the sentence of a check that failed; the command then ends with 1."""

    found: dict[str, Any]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """`run` may raise HistoryError for a file that can't be used, and call the parser's `error` for a wrong command."""

    name: str
    help: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.ArgumentParser, argparse.Namespace], Evaluation]


def add_part(parser: argparse.ArgumentParser, of: str) -> None:
    """--modulus and --remainder: a part of the file, for a quick look and for checks on what was not tuned on."""
    add = parser.add_argument
    add("--modulus", type=count(1, 10**6), default=1, metavar="N", help=f"take one in N {of}, by a hash of their id")
    add("--remainder", type=count(0, 10**6), default=0, metavar="R", help="which of the N parts (default: 0)")


def check_part(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if not 0 <= given.remainder < given.modulus:
        parser.error(f"--remainder is from 0 to {given.modulus - 1} with --modulus {given.modulus}")


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--plot", type=Path, metavar="PNG", help=f"draw {what} (needs matplotlib)")


def number(least: float, most: float, unit: str = "days") -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(f"from {least:g} to {most:g} {unit}".rstrip())
        return value

    return read


def count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"from {least} to {most}")
        return value

    return read
