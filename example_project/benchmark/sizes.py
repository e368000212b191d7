from __future__ import annotations

from dataclasses import dataclass

STEPS = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large each scenario is, in proportion to the number of jobs of a drain."""

    jobs: int = 20_000
    idle_seconds: float = 20.0

    @property
    def singles(self) -> int:
        return max(self.jobs * 3 // 20, 1)

    @property
    def pick_ups(self) -> int:
        return max(min(self.jobs // 100, 200), 10)

    @property
    def finished(self) -> int:
        return self.jobs * 25

    @property
    def delayed(self) -> int:
        return self.jobs * 10

    @property
    def in_line(self) -> int:
        return self.jobs * 5

    @property
    def workflows(self) -> int:
        return max(self.jobs * 3 // 200, 1)

    @property
    def first_jobs(self) -> int:
        return max(self.jobs // 20, 1)

    @property
    def many_jobs(self) -> int:
        return self.jobs * 10
