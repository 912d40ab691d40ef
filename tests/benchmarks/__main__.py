"""Runs every benchmark, one after the other: `make bench`, or `GPUS=100000 make bench` for a larger fleet."""

import os
import subprocess
import sys
from typing import Final

BENCHMARKS: Final = (
    "bench_exposition",
    "bench_measure",
    "bench_ingest",
    "bench_price",
    "bench_billing",
    "bench_agent_footprint",
)


def main() -> int:
    """Run them all, say which failed, and return 1 if one did."""
    failed = []
    sizes = os.environ.get("GPUS", "").split()
    for name in BENCHMARKS:
        arguments = ["1000", *(sizes or ["10000"])] if name == "bench_measure" else []
        print(f"\n{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
