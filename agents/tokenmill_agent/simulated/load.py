"""The load of an invented deployment: a day's wave with noise, as a function of time, and its exact integral."""

import math
import zlib
from typing import Final

MINUTE_US: Final = 60_000_000
DAY_MINUTES: Final = 1440
PPM: Final = 1_000_000

_PEAK_MINUTE: Final = 14 * 60
_MEAN_PPM: Final = 560_000
_SWING_PPM: Final = 330_000
_NOISE_PPM: Final = 110_000


def fraction(text: str) -> float:
    """Return a number from 0 to 1 that looks random and depends on `text` alone."""
    return zlib.crc32(text.encode()) / 0xFFFF_FFFF


class LoadCurve:
    """Load in parts per million of full: linear between whole minutes, so that its integral is exact in integers."""

    def __init__(self, name: str, *, since_us: int) -> None:
        """Name the curve; its integral counts from `since_us`, wall time in microseconds."""
        self._name = name
        self._first_minute = since_us // MINUTE_US
        # Twice the integral from the first minute to each later one, in ppm x minutes.
        self._twice_until = [0]
        self._from_start = 0
        self._from_start = self._ppm_us(since_us)
        self._last: tuple[int, int] = (since_us, 0)

    def ppm(self, at_us: int) -> int:
        """Return the load at a time, rounded down."""
        minute, rest_us = divmod(at_us, MINUTE_US)
        before, after = self._knot(minute), self._knot(minute + 1)
        return before + (after - before) * rest_us // MINUTE_US

    def integral_ppm_us(self, at_us: int) -> int:
        """Return the load times time since the start, in ppm x microseconds; never falls as time passes."""
        if at_us != self._last[0]:
            self._last = (at_us, self._ppm_us(at_us) - self._from_start)
        return self._last[1]

    def _ppm_us(self, at_us: int) -> int:
        minute, rest_us = divmod(at_us, MINUTE_US)
        steps = minute - self._first_minute
        if steps < 0:
            raise ValueError("the load is asked for a time before its start")
        while len(self._twice_until) <= steps:
            last = self._first_minute + len(self._twice_until) - 1
            self._twice_until.append(self._twice_until[-1] + self._knot(last) + self._knot(last + 1))
        before, after = self._knot(minute), self._knot(minute + 1)
        twice = self._twice_until[steps] * MINUTE_US + 2 * before * rest_us
        # The slope's part has the minute as its divisor: all is brought over it before the one rounding.
        return (twice * MINUTE_US + (after - before) * rest_us * rest_us) // (2 * MINUTE_US)

    def _knot(self, minute: int) -> int:
        wave = math.cos(2 * math.pi * (minute % DAY_MINUTES - _PEAK_MINUTE) / DAY_MINUTES)
        noise = 2 * fraction(f"{self._name}/{minute}") - 1
        return min(PPM, max(0, round(_MEAN_PPM + _SWING_PPM * wave + _NOISE_PPM * noise)))
