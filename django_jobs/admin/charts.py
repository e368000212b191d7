"""Bar charts of what ended when, as SVG: here are the numbers, the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django_jobs.queue.history import Bar

WIDTH, HEIGHT = 600, 100
# Of the room that a bar has, how much is the bar.
FILLED = 0.8
# However high the others are, one job can be seen.
LOWEST = 2.0

# From the bottom to the top.
KINDS = ("succeeded", "retried", "failed")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar, for one way of ending."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A bar in its place."""

    bar: Bar
    x: float
    width: float
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template needs to draw bars."""

    bars: Sequence[Drawn]
    highest: int
    total: Bar

    width = WIDTH
    height = HEIGHT

    @property
    def is_empty(self) -> bool:
        return self.highest == 0


def chart(bars: Sequence[Bar], total: Bar) -> Chart:
    highest = max((bar.total for bar in bars), default=0)
    room = WIDTH / max(len(bars), 1)
    gap = room * (1 - FILLED) / 2
    drawn = [
        Drawn(bar, round(place * room + gap, 2), round(room * FILLED, 2), _parts(bar, highest))
        for place, bar in enumerate(bars)
    ]
    return Chart(drawn, highest, total)


def _parts(bar: Bar, highest: int) -> list[Part]:
    parts = []
    top = float(HEIGHT)
    for kind in KINDS:
        if count := getattr(bar, kind):
            height = max(count / highest * HEIGHT, LOWEST)
            top = max(top - height, 0.0)
            parts.append(Part(kind, round(top, 2), round(height, 2)))
    return parts
