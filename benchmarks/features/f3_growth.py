"""F3: the point-in-time join from 1 to 10 to 100 million feature rows under a memory limit.

    python -m benchmarks.features.f3_growth --rows 1000000 10000000 --memory-limit 4GB

Each size runs in a process of its own, so that its peak memory is its own; labels stay the same. 100 million rows need
some 30 GB of disk for files and spilling.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.features.f1_point_in_time import Ours
from benchmarks.features.world import make_world
from benchmarks.table import measure_seconds, print_table

MIB = 2**20


def one_size(rows: int, labels: int, memory_limit: str) -> dict[str, float]:
    """Seconds and peak memory of one join in this process; the world is made by a child, whose memory is not ours."""
    with tempfile.TemporaryDirectory() as folder:
        program = "import sys; from pathlib import Path; from benchmarks.features.world import make_world; "
        program += f"make_world(Path(sys.argv[1]), rows={rows}, labels={labels})"
        subprocess.run([sys.executable, "-c", program, folder], check=True)
        world = make_world(Path(folder), rows=0, labels=0, only_names=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = measure_seconds(Ours(world, memory_limit=memory_limit), repeats=1)[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mib": peak / 1024, "before_mib": before / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--memory-limit", default="4GB")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one_size(options.one, options.labels, options.memory_limit)))
        return
    table = []
    for rows in options.rows:
        command = [sys.executable, "-m", "benchmarks.features.f3_growth", "--one", str(rows)]
        command += ["--labels", str(options.labels), "--memory-limit", options.memory_limit]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        per_million = found["seconds"] / (rows / 1e6)
        table.append({"rows": f"{rows:,}", "seconds": found["seconds"], "seconds a million": per_million,
                      "peak MiB": found["peak_mib"]})  # fmt: skip
    print_table(f"growth, {options.labels:,} labels, limit {options.memory_limit}", table, packages=("duckdb",))


if __name__ == "__main__":
    main()
