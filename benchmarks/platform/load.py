"""What our definitions add to `import dagster`, each time in a fresh process: every run and every server pays it.

    python -m benchmarks.platform.load --repeats 5

Target: less than 1.5 s beyond the import of Dagster itself (about 2 s on two cores).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.table import print_table

ROOT = Path(__file__).parents[2]
TARGET_SECONDS = 1.5
PROGRAM = """
import json, time
began = time.perf_counter()
import dagster
imported = time.perf_counter()
from assets.definitions import defs
repository = defs().get_repository_def()
loaded = time.perf_counter()
keys = repository.asset_graph.get_all_asset_keys()
print(json.dumps([imported - began, loaded - imported, len(keys)]))
"""


def main() -> None:
    """Measure in alternation with nothing else, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    once()  # bytecode is compiled once, not in every process
    dagster, ours, assets = zip(*(once() for _ in range(repeats)), strict=True)
    rows = [
        {
            "import dagster, s": statistics.median(dagster),
            "definitions beyond it, s": statistics.median(ours),
            "ratio": statistics.median(ours) / statistics.median(dagster),
            "target, s": TARGET_SECONDS,
            "assets": assets[0],
            "processes": repeats,
        }
    ]
    print_table("Loading the definitions", rows, packages=("dagster", "pydantic", "sqlglot"))


def once() -> tuple[float, float, int]:
    """Seconds of `import dagster`, seconds of our definitions beyond it, and how many assets there are."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    dagster, ours, assets = json.loads(done.stdout)
    return dagster, ours, assets


if __name__ == "__main__":
    main()
