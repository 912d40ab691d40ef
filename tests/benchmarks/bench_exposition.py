"""Measures the CPU time to count one metrics page, beside a parser of whole pages.

Run as `python -m tests.benchmarks.bench_exposition`. The pages are shaped as vLLM and SGLang write them, with all their
histograms, and grown to 200 KB by data-parallel ranks. `KB=1000` takes another size.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tokenmill_agent.servers.counters import count_page
from tokenmill_agent.servers.engines import TABLES, EngineTable

PAGE_BYTES: Final = int(os.environ.get("KB", "200")) * 1000
TARGET_MILLISECONDS: Final = 5.0
RUNS: Final = 30
_HISTOGRAMS: Final = 20
_BUCKETS: Final = 16


def main() -> int:
    """Print a line per engine; return 1 if a page took more than the target."""
    slow = False
    print(f"{'page':<10}  {'KB':>5}  {'samples':>8}  {'counted, ms':>11}  {'whole parser, ms':>16}  {'ratio':>6}")
    for engine in ("vllm", "sglang"):
        page = _page(next(table for table in reversed(TABLES) if table.engine == engine))
        counted = _milliseconds(count_page, page)
        parsed = _milliseconds(_parse_all, page)
        samples = sum(not line.startswith("#") for line in page.splitlines())
        print(
            f"{engine:<10}  {len(page) / 1000:>5.0f}  {samples:>8,}  {counted:>11.2f}  {parsed:>16.2f}"
            f"  {parsed / counted:>6.1f}"
        )
        slow = slow or counted > TARGET_MILLISECONDS
    print(f"target: {TARGET_MILLISECONDS:g} ms of CPU for 200 KB")
    return 1 if slow and PAGE_BYTES <= 200_000 else 0


def _page(table: EngineTable) -> str:
    lines: list[str] = []
    size, rank = 0, 0
    while size < PAGE_BYTES:
        for line in _rank(table, rank):
            lines.append(line)
            size += len(line) + 1
            if size >= PAGE_BYTES:
                break
        rank += 1
    return "\n".join(lines) + "\n"


def _rank(table: EngineTable, rank: int) -> Iterator[str]:
    labels = f'engine="{rank}",dp_rank="{rank}",model_name="deepseek-ai/DeepSeek-R1-0528",tp_rank="0"'
    for names in table.counters.values():
        yield f"# TYPE {names[0]} counter"
        yield f"{names[0]}{{{labels}}} 1.204511e+06"
        yield f"{names[0].removesuffix('_total')}_created{{{labels}}} 1.7954754420606804e+09"
    for histogram in range(_HISTOGRAMS):
        yield f"# TYPE {table.engine}:histogram_{histogram}_seconds histogram"
        for bucket in range(_BUCKETS):
            yield f'{table.engine}:histogram_{histogram}_seconds_bucket{{{labels},le="{bucket}.0"}} {bucket * 12}.0'


def _parse_all(page: str) -> None:
    for _ in text_string_to_metric_families(page):
        pass


def _milliseconds(work: Callable[[str], object], page: str) -> float:
    times = []
    for _ in range(RUNS):
        started = time.process_time_ns()
        work(page)
        times.append((time.process_time_ns() - started) / 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
