"""What the newest jobs tell of the usual: which tasks and queues there are, how long they run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from django_jobs.models import Job, JobStatus

# How many jobs are looked at.
SAMPLE = 2_000
# How many runs of a task make its usual duration.
FEWEST = 5
# A run is unusual that takes this many times the usual, and longer than the longest.
FAR_ABOVE = 5
AT_LEAST = timedelta(seconds=30)


@dataclass(slots=True)
class Recent:
    slugs: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    # How long successful runs took, by slug.
    runs: dict[str, list[timedelta]] = field(default_factory=lambda: defaultdict(list))

    def longest_usual(self, slug: str) -> timedelta | None:
        """Return how long a run may take that is not unusual; None where too little is known."""
        runs = self.runs.get(slug, [])
        if len(runs) < FEWEST:
            return None
        return max(sorted(runs)[len(runs) // 2] * FAR_ABOVE, max(runs), AT_LEAST)


def look(*, using: str) -> Recent:
    """Look at the newest jobs, in one query."""
    recent = Recent()
    columns = ("slug", "queue", "status", "started_at", "completed_at")
    newest = Job.objects.using(using).order_by("-id").values_list(*columns)
    for slug, queue, status, started_at, completed_at in newest[:SAMPLE]:
        recent.slugs.add(slug)
        recent.queues.add(queue)
        if status == JobStatus.SUCCESSFUL and started_at and completed_at:
            recent.runs[slug].append(completed_at - started_at)
    return recent
