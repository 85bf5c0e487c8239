"""How long `bin/up` takes from a plain clone to its first answer, and how long after that.

    python3 bench/start.py [--python python3.12] [--starts 3]

Clones this repository's last commit into a temporary folder, so that nothing of this one's environment is used.
Prints one JSON object; times are seconds. The first start installs packages: its time depends on pip's cache.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="python3")
    parser.add_argument("--starts", type=int, default=3, help="starts after the first")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wellio-start-"))
    try:
        clone = folder / "wellio"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        first, *later = [seconds_to_answer(clone, arguments.python) for _ in range(1 + arguments.starts)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"python": arguments.python, "first_s": round(first, 2), "later_s": [round(s, 2) for s in later]}))


def seconds_to_answer(clone: Path, python: str) -> float:
    """From the command to a 200 of /health/ready; the process is stopped again."""
    environment = {**os.environ, "PORT": "0"}
    begun = time.monotonic()
    with subprocess.Popen(
        [python, "bin/up"], cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        url = next(line.split()[1] for line in process.stdout if line.startswith("ready "))
        with urllib.request.urlopen(f"{url}/health/ready") as answer:
            assert answer.status == 200
        took = time.monotonic() - begun
        process.send_signal(signal.SIGINT)
        process.wait(30)
    return took


if __name__ == "__main__":
    main()
