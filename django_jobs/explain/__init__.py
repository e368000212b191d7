"""Why a job does not run, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs.explain.facts import gather
from django_jobs.explain.reasons import reason_for
from django_jobs.explain.states import Explanation, State
from django_jobs.models import Job

__all__ = ["Explanation", "State", "explain"]


def explain(jobs: Sequence[Job], *, using: str) -> dict[int, Explanation]:
    """Say of each of these jobs what it does, and why it does not run.

    It takes a dozen queries at the most, however many jobs there are.
    """
    if not jobs:
        return {}
    facts = gather(jobs, using=using)
    return {job.pk: reason_for(job, facts) for job in jobs}
