from __future__ import annotations

from datetime import timedelta

import pytest

from django_jobs.exceptions import JobCancelledError, RetryLater
from django_jobs.models import JobStatus
from django_jobs.tasks.retry import LONGEST_DELAY, Retry
from django_jobs.worker.decide import Level, Raised, Returned, decide, retry_delay

ERROR = ValueError("no")


def level(retries: int | Retry | None, failures: int = 1) -> Level:
    return Level(Retry.of(retries), failures)


def seconds(levels: list[Level], error: BaseException = ERROR) -> float | None:
    delay = retry_delay(error, levels)
    return None if delay is None else delay.total_seconds()


@pytest.mark.parametrize(
    ("levels", "delay"),
    [
        ([level(None)], None),
        ([level(0)], None),
        ([level(1)], 0),
        ([level(1, failures=2)], None),
        # Step, then job.
        ([level(None), level(None)], None),
        ([level(2), level(None)], 0),
        ([level(0), level(None)], None),
        ([level(None), level(2)], 0),
        ([level(2), level(0)], None),
        ([level(2, failures=3), level(9)], None),
        ([level(9), level(2, failures=3)], None),
        # Inner step, outer step, job: a level that says nothing leaves it to the next.
        ([level(None, failures=9), level(2), level(None, failures=9)], 0),
        ([level(3), level(0), level(None)], None),
        # The longest delay counts.
        ([level(Retry(1, delay=3)), level(Retry(1, delay=5))], 5),
        ([level(Retry(1, delay=7)), level(Retry(1, delay=5))], 7),
        ([level(Retry(1, delay=7)), level(None)], 7),
    ],
)
def test_every_level_that_speaks_of_retries_must_allow_one(
    levels: list[Level], delay: float | None
) -> None:
    assert seconds(levels) == delay


def test_each_level_waits_by_its_own_count_of_failures() -> None:
    task = Level(Retry(9, backoff="exponential", delay=1), failures=4)
    workflow = Level(Retry(9, backoff="exponential", delay=2), failures=2)
    assert seconds([task, workflow]) == 8


def test_the_class_of_the_error_is_asked_of_every_level() -> None:
    only_os_errors = level(Retry(5, retry_on=OSError))
    assert seconds([level(5), only_os_errors]) is None
    assert seconds([level(5), only_os_errors], TimeoutError()) == 0
    assert seconds([level(Retry(5, give_up_on=ValueError)), level(5)]) is None


def test_what_is_returned_is_the_output_of_a_successful_job() -> None:
    change = decide(Returned({"a": 1}), level(0))
    assert (change.status, change.result, change.output) == (
        JobStatus.SUCCESSFUL,
        "success",
        {"a": 1},
    )
    assert change.error is None
    assert change.counts_attempt


def test_a_failure_with_retries_left_makes_the_job_ready_after_the_delay() -> None:
    change = decide(Raised(ERROR), level(Retry(1, delay=3)))
    assert (change.status, change.result) == (JobStatus.READY, "error")
    assert change.delay == timedelta(seconds=3)
    assert change.counts_attempt
    assert change.error is not None
    assert change.error["name"] == "ValueError"


def test_a_failure_without_retries_left_is_final() -> None:
    change = decide(Raised(ERROR, [level(5)]), level(0))
    assert (change.status, change.result) == (JobStatus.FAILED, "error-reached-max-retries")
    assert change.error is not None
    assert not change.error["cancelled"]


def test_a_cancellation_by_the_handler_is_final_whatever_retries_are_left() -> None:
    change = decide(Raised(JobCancelledError("enough"), [level(5)]), level(5))
    assert (change.status, change.result) == (JobStatus.CANCELLED, "error-reached-max-retries")
    assert change.error is not None
    assert change.error["cancelled"]
    assert change.error["message"] == "enough"


def test_retry_later_counts_no_attempt_whatever_retries_are_left() -> None:
    change = decide(Raised(RetryLater(60, "rate limit")), level(0))
    assert (change.status, change.result) == (JobStatus.READY, "error")
    assert change.delay == timedelta(minutes=1)
    assert change.error is None
    assert not change.counts_attempt
    assert change.message == "rate limit"


def test_retry_later_waits_no_longer_than_a_datetime_can_say() -> None:
    change = decide(Raised(RetryLater(timedelta.max, "\x00")), level(None))
    assert change.delay == LONGEST_DELAY
    assert "\x00" not in change.message
