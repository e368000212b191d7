"""Failures for the same reason are told from others."""

from __future__ import annotations

import pytest

from django_jobs.models import Job
from django_jobs.queue import lifecycle
from django_jobs.queue.failures import group_of, normalised
from django_jobs.queue.rescue import take_over
from tests.queue.support import ERROR, add, claim_one, end, end_lease


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Order 17 is gone.", "Order … is gone."),
        ("can't read '/tmp/a-1' at 0x7f3A", "can't read … at …"),
        ("no 2f1c9b5e-04d7-4a0c-9f5b-6f6f0f0b7a11 in v2", "no … in v…"),
        ('no key "user"\nand more', "no key …"),
        ("'colour_7'", "'colour_…'"),
        ("nothing to replace", "nothing to replace"),
        ("", ""),
    ],
)
def test_what_differs_in_each_job_is_left_out(message: str, expected: str) -> None:
    assert normalised(message) == expected


def test_a_message_without_end_is_cut() -> None:
    assert len(normalised("a-" * 100_000)) <= 500


def test_errors_are_alike_by_class_and_message() -> None:
    first = group_of({"name": "ValueError", "message": "Order 1"})
    assert first == group_of({"name": "ValueError", "message": "Order 22"})
    assert first != group_of({"name": "KeyError", "message": "Order 1"})
    assert first != group_of({"name": "ValueError", "message": "Order 1 again"})
    assert len(group_of({"name": "\ud800", "message": None})) == 16


@pytest.mark.django_db
def test_a_failed_job_has_a_group_until_it_is_retried() -> None:
    job = add()
    end(claim_one(), lifecycle.fail(ERROR))
    assert _stored_group(job) == group_of(ERROR)
    job.retry()
    assert _stored_group(job) is None
    end(claim_one())
    assert _stored_group(job) is None


@pytest.mark.django_db
def test_jobs_that_lost_their_workers_too_often_are_alike() -> None:
    add()
    claimed = claim_one()
    Job.objects.filter(pk=claimed.pk).update(crashes=99)
    end_lease(claimed)
    take_over(using="default")
    claimed.refresh_from_db()
    assert claimed.error is not None
    assert claimed.error_group == group_of(claimed.error)


def _stored_group(job: Job) -> str | None:
    return Job.objects.get(pk=job.pk).error_group
