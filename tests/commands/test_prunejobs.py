"""`manage.py prunejobs`: delete finished jobs."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from django_jobs import task
from django_jobs.models import Job, JobLog, JobStatus

pytestmark = pytest.mark.django_db

KEPT = {"RETENTION": {"successful": timedelta(days=1), "failed": timedelta(days=30)}}


def prune(*arguments: str) -> str:
    output = StringIO()
    call_command("prunejobs", *arguments, stdout=output)
    return output.getvalue().strip()


def finished(status: JobStatus, *, days: float) -> Job:
    """Return a job that finished so many days ago."""

    @task(slug=f"task-{Job.objects.count()}")
    def do_nothing() -> None:
        pass

    job = do_nothing.enqueue()
    Job.objects.filter(pk=job.pk).update(
        status=status, completed_at=timezone.now() - timedelta(days=days)
    )
    JobLog.objects.create(job=job, message="a line")
    return job


def left() -> set[int]:
    return set(Job.objects.values_list("pk", flat=True))


def test_each_status_is_kept_as_long_as_the_setting_says() -> None:
    old, young = (finished(JobStatus.SUCCESSFUL, days=days) for days in (2, 0.5))
    failed, long_failed = (finished(JobStatus.FAILED, days=days) for days in (2, 31))
    cancelled = finished(JobStatus.CANCELLED, days=999)
    with override_settings(DJANGO_JOBS=KEPT):
        assert prune() == "2 jobs were deleted."
    assert left() == {young.pk, failed.pk, cancelled.pk}
    assert set(JobLog.objects.values_list("job", flat=True)) == left()
    assert old.pk not in left()
    assert long_failed.pk not in left()


def test_days_override_the_setting() -> None:
    finished(JobStatus.SUCCESSFUL, days=8)
    finished(JobStatus.CANCELLED, days=8)
    young = finished(JobStatus.FAILED, days=6)
    with override_settings(DJANGO_JOBS=KEPT):
        assert prune("--days=7") == "2 jobs were deleted."
    assert left() == {young.pk}


def test_only_the_statuses_that_are_named_are_deleted() -> None:
    kept = finished(JobStatus.FAILED, days=8)
    finished(JobStatus.SUCCESSFUL, days=8)
    finished(JobStatus.CANCELLED, days=8)
    assert prune("--days=7", "--status=successful", "--status=cancelled") == "2 jobs were deleted."
    assert left() == {kept.pk}


def test_what_is_not_finished_is_never_deleted() -> None:
    for status in (JobStatus.READY, JobStatus.WAITING):
        finished(status, days=999)
    assert prune("--days=0") == "0 jobs were deleted."
    assert len(left()) == 2


def test_without_days_or_a_setting_it_is_refused() -> None:
    finished(JobStatus.SUCCESSFUL, days=999)
    with pytest.raises(CommandError, match="Give --days, or set"):
        prune()
    assert len(left()) == 1


@pytest.mark.parametrize("arguments", [["--days=-1"], ["--days=x"], ["--days=nan"]])
def test_wrong_days_are_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        prune(*arguments)


def test_an_unfinished_status_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        prune("--days=1", "--status=running")
