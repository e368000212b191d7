"""Failures that are alike, so that all of them can be retried together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.utils.http import urlencode

from django_jobs.admin.filters import NO_GROUP
from django_jobs.models import Job
from django_jobs.queue.failures import normalised

# How many failures are looked at, the newest, and how many groups are shown.
MOST = 10_000
MOST_GROUPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures of one task with one error, numbers and quoted values apart."""

    newest: Job
    count: int

    @property
    def name(self) -> str:
        return str((self.newest.error or {}).get("name") or "")

    @property
    def message(self) -> str:
        return normalised(str((self.newest.error or {}).get("message") or ""))

    @property
    def query(self) -> str:
        """The filters of the list that find its jobs."""
        group = self.newest.error_group or NO_GROUP
        return urlencode({"status": "failed", "slug": self.newest.slug, "error": group})


def groups(*, using: str) -> tuple[list[Group], bool]:
    """Return the groups, the largest first, and whether there are more failures than counted."""
    failed = Job.objects.using(using).failed().order_by("-id")
    rows = list(failed.values_list("error_group", "slug", "pk")[: MOST + 1])
    counts: Counter[tuple[str | None, str]] = Counter()
    newest: dict[tuple[str | None, str], int] = {}
    for group, slug, pk in rows[:MOST]:
        counts[group, slug] += 1
        newest.setdefault((group, slug), pk)
    shown = counts.most_common(MOST_GROUPS)
    needed = Job.objects.using(using).only("slug", "error", "error_group", "completed_at")
    jobs = needed.in_bulk([newest[key] for key, _count in shown])
    found = [
        Group(newest=jobs[newest[key]], count=count) for key, count in shown if newest[key] in jobs
    ]
    return found, len(rows) > MOST
