"""Prints measurements as a table: median with its spread, rows per second, peak memory."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Several runs of one thing."""

    name: str
    seconds: list[float]
    peak_bytes: int
    rows: int

    @property
    def median(self) -> float:
        """Return the median of the runs, in seconds."""
        return statistics.median(self.seconds)


def print_table(found: Sequence[Measurement]) -> None:
    """Print one line per measurement."""
    width = max(len(measurement.name) for measurement in found)
    print(f"{'what':<{width}}  {'seconds median (min-max)':>26}  {'rows':>12}  {'rows/s':>12}  {'peak MB':>8}")
    for one in found:
        spread = f"{one.median:.3f} ({min(one.seconds):.3f}-{max(one.seconds):.3f})"
        rate = one.rows / one.median
        print(f"{one.name:<{width}}  {spread:>26}  {one.rows:>12,}  {rate:>12,.0f}  {one.peak_bytes / 1e6:>8,.0f}")
