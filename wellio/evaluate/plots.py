"""What every picture needs before it is drawn."""

from importlib.util import find_spec
from pathlib import Path

from wellio.practice.history_files import HistoryError


def check_plot(path: Path) -> None:
    """Before the long work: raises HistoryError where no picture could be drawn in the end."""
    if not find_spec("matplotlib"):
        raise HistoryError(
            "--plot needs matplotlib, which is not installed: .venv/bin/python -m pip install 'matplotlib>=3.10,<4'"
        )
    if path.suffix.lower() != ".png":
        raise HistoryError(f"--plot writes a PNG: name a file that ends in .png, not {path.name}.")
    if not path.absolute().parent.is_dir():
        raise HistoryError(f"--plot: there is no folder {path.absolute().parent}.")
