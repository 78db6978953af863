"""L2: definitions of a system with a thousand models, each time in a fresh process.

    python -m benchmarks.learning.l2_definitions --repeats 5

Target: less than 5 s beyond `import dagster`, the system that ships with the platform included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from unittest.mock import patch

from benchmarks.learning.world import FEATURES, estimators, write_plant
from benchmarks.platform.load import once
from benchmarks.table import print_table

TARGET_SECONDS = 5.0


def main() -> None:
    """Ten segments, ten estimators, ten feature sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    sets = "\n".join(f"        s{n}: [guess, {', '.join(FEATURES[: n + 3])}]" for n in range(10))
    matrix = f"""\
  many:
    matrix:
      segments: {{line: [{", ".join(map(str, range(10)))}]}}
      estimators:
{estimators(10, 0)}
      feature_sets:
{sets}
"""
    with tempfile.TemporaryDirectory() as folder:
        system = write_plant(Path(folder), models=matrix)
        with patch.dict(os.environ, FORECASTLE_SYSTEMS=folder):
            once()
            dagster, ours, assets = zip(*(once() for _ in range(repeats)), strict=True)
    rows = [
        {
            "models": len(system.declaration.models),
            "import dagster, s": statistics.median(dagster),
            "definitions beyond it, s": statistics.median(ours),
            "target, s": TARGET_SECONDS,
            "assets": assets[0],
            "processes": repeats,
        }
    ]
    print_table("L2: loading definitions of a thousand models", rows, packages=("dagster", "pydantic"))


if __name__ == "__main__":
    main()
