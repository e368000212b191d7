"""The results as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmark.machine import machine, versions
from benchmark.scenarios import SCENARIOS, Figures
from benchmark.sizes import Sizes

COLUMNS = ("Scenario", "", "Median", "From – to")


@dataclass(slots=True)
class Results:
    """The figures of each round of each scenario."""

    sizes: Sizes
    rounds: dict[str, list[Figures]] = field(default_factory=dict)

    def add(self, name: str, figures: Figures) -> None:
        self.rounds.setdefault(name, []).append(figures)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        for name, rounds in self.rounds.items():
            title = SCENARIOS[name].title
            for figure in rounds[0]:
                values = [figures[figure] for figures in rounds]
                span = f"{number(min(values))} – {number(max(values))}"
                yield title, figure, number(median(values)), span
                title = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "versions": versions(),
            "sizes": asdict(self.sizes),
            "scenarios": {
                name: {"title": SCENARIOS[name].title, "rounds": rounds}
                for name, rounds in self.rounds.items()
            },
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def as_table(self) -> Table:
        table = Table()
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in COLUMNS[2:] else "left")
        for row in self.rows():
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        lines = [COLUMNS, ("---", "---", "---:", "---:"), *self.rows()]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def circumstances() -> str:
    """Return the machine and the versions in two lines."""
    place = machine()
    return (
        f"{place['processor']}, {place['cores']} cores, {place['memory GB']} GB, "
        f"{place['system']}\n{', '.join(f'{name} {known}' for name, known in versions().items())}"
    )
