"""Numbers as a reader wants them: few digits, human units, a true minus sign. And axes with round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHARES = ("accuracy", "exact match")  # metrics between 0 and 1, shown in percent and their differences in points
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


def count(number: float) -> str:
    """1234 as 1,234."""
    return _signed(f"{number:,.0f}")


def compact(number: float) -> str:
    """Three digits at most: 950, 1.5k, 152k, 2.1M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:
            return _signed(f"{number / size:.3g}{unit}")
    return _signed(f"{number:.3g}")


def duration(seconds: float) -> str:
    """0.04 s, 3.0 s, 42 s, 4 min 12 s, 1 h 5 min, 2 d 3 h."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2f} s" if seconds >= 0.005 else "under 0.01 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def size(num_bytes: float) -> str:
    """Bytes in binary units: 512 MiB, 1.4 GiB."""
    if not math.isfinite(num_bytes):
        return NONE
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if num_bytes >= 1024**power:
            return (
                f"{num_bytes / 1024**power:.2g} {unit}"
                if num_bytes < 10 * 1024**power
                else f"{num_bytes / 1024**power:,.0f} {unit}"
            )
    return f"{num_bytes:.0f} bytes"


def value(number: float, metric: str) -> str:
    """A value of a metric: 48.0% of an accuracy, 1.234 of anything else."""
    if not math.isfinite(number):
        return NONE
    if metric in SHARES:
        return f"{100 * number:.1f}%"
    return _signed(f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}")


def difference(number: float, metric: str) -> str:
    """A signed difference: +16.8 points of an accuracy, −0.123 of anything else."""
    if not math.isfinite(number):
        return NONE
    return _signed(f"{100 * number:+.1f}") + "\N{NO-BREAK SPACE}points" if metric in SHARES else _signed(f"{number:+.3f}")


def p_value(p: float) -> str:
    if not math.isfinite(p):
        return NONE
    return "under 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


@dataclass(frozen=True)
class Tick:
    """`at`: percent of the axis, from its start."""

    label: str
    at: float


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`; places on it are percent of its length."""

    low: float
    high: float

    @classmethod
    def over(cls, numbers: list[float], margin: float = 0.06) -> Axis:
        """An axis that holds all finite ones of the numbers, with a margin on both sides; -1 to 1 for none."""
        finite = [number for number in numbers if math.isfinite(number)]
        if not finite:
            return cls(-1.0, 1.0)
        low, high = min(finite), max(finite)
        width = high - low or abs(high) or 1.0
        return cls(low - margin * width, high + margin * width)

    def at(self, number: float) -> float:
        """Where a number stands, in percent, rounded to a hundredth; beyond the ends for a number outside."""
        return round(100 * (number - self.low) / (self.high - self.low), 2)

    def places(self, about: int = 5) -> list[tuple[float, float]]:
        """(number, place in percent) of about so many round numbers."""
        raw = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = min((factor * power for factor in (1, 2, 2.5, 5, 10)), key=lambda step: abs(math.log(step / raw)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(index * step, self.at(index * step)) for index in range(first, last + 1)]

    def ticks(self, about: int = 5, *, unit: float = 1, signed: bool = False, suffix: str = "") -> list[Tick]:
        """About so many round numbers, times `unit`, all written with as many decimals as the one that needs most."""
        places = [(unit * number, at) for number, at in self.places(about)]
        written = [f"{number:.6g}" for number, _ in places]
        if any("e" in text for text in written):  # too large or too small for decimals
            return [Tick(_signed(text) + suffix, at) for text, (_, at) in zip(written, places, strict=True)]
        decimals = max((len(text.partition(".")[2]) for text in written), default=0)
        sign = "+" if signed else ""
        return [Tick("0" if abs(n) < 1e-12 and signed else _signed(f"{n:{sign}.{decimals}f}") + suffix, at) for n, at in places]


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
