"""What tests of an application need: run its jobs, and ask what it has enqueued.

Everything here runs in the caller's thread and on its connection, so that it works inside
the transaction of a TestCase. The pytest fixtures of these names are in `pytest_plugin`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest

from django_jobs import access, signals
from django_jobs.fields import DatabaseNow
from django_jobs.models import SLEEP_SLUG, Job, JobQuerySet, JobStatus, TaskStatus, database_alias
from django_jobs.queue.claim import Selection
from django_jobs.queue.json import normalise
from django_jobs.queue.lifecycle import FINAL
from django_jobs.tasks import registry
from django_jobs.tasks.task import Call, Declaration
from django_jobs.worker.runner import RunResult, default_selection, run_pass

__all__ = ["assert_enqueued", "assert_not_enqueued", "inline_jobs", "run_jobs"]

# How many attempts are taken for an endless loop, unless the test says otherwise.
MAX_ATTEMPTS = 1000
# How many jobs run inside each other before the next has to wait for them.
DEEPEST = 20

Target = str | Declaration[Any, Any] | Call[Any, Any]

_depth: ContextVar[int] = ContextVar("django_jobs_inline_depth", default=0)


def run_jobs(
    *, queue: str | None = None, limit: int | None = None, all_queues: bool = False,
    where: Q | None = None, sequential: bool = True, processing_order: str | None = None,
    deadline: float | None = None, request: HttpRequest | None = None,
    ignore_delays: bool = False, max_attempts: int = MAX_ATTEMPTS,
) -> RunResult:  # fmt: skip
    """Run what is due, and what that enqueues, until nothing is due any more.

    The keywords are those of `jobs.run`, except that no `queue` means all of them, that
    `limit` is the number of attempts in all, and that jobs run one after the other even
    where `sequential` is false. What a handler raises is on its job.

    With `ignore_delays`, time flies whenever nothing is due: the first of the jobs that are
    delayed, wait for a retry or sleep has its time come. Events are waited for all the same.

    Returns the result of all passes together, with the last status of each job. Raises
    RuntimeError where something is due still after `max_attempts`.
    """
    access.require("run", request)
    selection = replace(
        default_selection(None if all_queues else queue), where=where, order=processing_order
    )
    ends_at = None if deadline is None else time.monotonic() + deadline
    drain = _Drain(selection, _Budget(max_attempts), ignore_delays=ignore_delays)
    return drain.run(limit=limit, ends_at=ends_at)


@contextmanager
def inline_jobs(*, ignore_delays: bool = True, max_attempts: int = MAX_ATTEMPTS) -> Iterator[None]:
    """Run jobs as they are enqueued, those enqueued by jobs too; a context manager.

    When `enqueue` returns, the job has run with all its retries. What its handler raised is on
    the job, as it would be in a worker, and is not raised here. Delays are ignored,
    those of retries too, unless `ignore_delays` is false. What has to wait, for an event or for
    its concurrency key, runs with the next job that is enqueued and may. Jobs of
    `enqueue_on_commit` are enqueued on commit: see Django's captureOnCommitCallbacks.

    Raises RuntimeError at the end of the block where `max_attempts` were not enough.
    """
    inline = _Inline(_Budget(max_attempts), ignore_delays=ignore_delays)
    signals.job_enqueued.connect(inline.receive, weak=False)
    try:
        yield
    finally:
        signals.job_enqueued.disconnect(inline.receive)
    if inline.error is not None:
        raise inline.error


def assert_enqueued(task: Target, **input: Any) -> Job:
    """Return the latest job of the task with this input, in whatever status it is.

    Arguments that are not named may be anything. Of `task.using(...)`, the queue, the
    priority and wait_until must be the job's too. Raises AssertionError with a list of what
    was enqueued.
    """
    found = _matching(task, input)
    if not found:
        raise AssertionError(f"No job was enqueued for {_wanted(task, input)}.{_enqueued(task)}")
    return found[-1]


def assert_not_enqueued(task: Target, **input: Any) -> None:
    """See assert_enqueued()."""
    if found := _matching(task, input):
        listed = "".join(f"\n  {_described(job)}" for job in found)
        raise AssertionError(f"Jobs were enqueued for {_wanted(task, input)}:{listed}")


class _Budget:
    """How many attempts may be made yet."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        self.left = attempts

    def check(self, due: Callable[[], JobQuerySet]) -> None:
        """Raise RuntimeError where no attempt is left for what is due."""
        if self.left > 0:
            return
        if slugs := Counter(due().values_list("slug", flat=True)):
            listed = ", ".join(f"{number} × {slug!r}" for slug, number in slugs.most_common(5))
            raise RuntimeError(
                f"After {self.attempts} attempts there still are jobs to run: {listed}. Does "
                "one of them enqueue itself, or ask to be retried, for ever? If it is not for "
                "ever, pass a larger max_attempts."
            )


class _Drain:
    """Passes of one job each, so that what a job enqueues runs when it is its turn."""

    def __init__(self, selection: Selection, budget: _Budget, *, ignore_delays: bool) -> None:
        self.selection = selection
        self.budget = budget
        self.ignore_delays = ignore_delays
        self.using = database_alias()

    def run(self, *, limit: int | None = None, ends_at: float | None = None) -> RunResult:
        status: dict[int, str] = {}
        attempts, nothing_due = 0, False
        while not nothing_due and not _is_over(limit, attempts, ends_at):
            self.budget.check(self._to_run)
            done = run_pass(self.selection, 1, inline=True, using=self.using)
            nothing_due = done.no_jobs_remaining and not (self.ignore_delays and self._advance())
            attempts += not done.no_jobs_remaining
            self.budget.left -= not done.no_jobs_remaining
            status |= done.job_status
        return RunResult(
            job_status=status,
            remaining_jobs_from_queried=sum(s not in ("success", FINAL) for s in status.values()),
            no_jobs_remaining=nothing_due,
        )

    def _to_run(self) -> JobQuerySet:
        jobs = self._selected()
        return jobs.ready() | self._delayed() if self.ignore_delays else jobs.ready()

    def _advance(self) -> bool:
        """Let the time of the first job come that waits for one; return False without any."""
        job = self._delayed().order_by("wait_until", "id").first()
        if job is None:
            return False
        sleeps = TaskStatus.objects.using(self.using).filter(job=job, task_slug=SLEEP_SLUG)
        sleeps.filter(complete=False).update(input={"until": job.created_at.isoformat()})
        Job.objects.using(self.using).filter(pk=job.pk).update(wait_until=DatabaseNow())
        return True

    def _delayed(self) -> JobQuerySet:
        asleep = TaskStatus.objects.filter(job=OuterRef("pk"), task_slug=SLEEP_SLUG, complete=False)
        waiting = self._selected().filter(
            Q(status=JobStatus.READY) | Q(Exists(asleep), status=JobStatus.WAITING),
            wait_until__gt=DatabaseNow(),
        )
        # A job of an unknown task only waits for a deployment to bring it.
        slugs = waiting.order_by().values_list("slug", flat=True).distinct()
        return waiting.filter(slug__in=[slug for slug in slugs if registry.find(slug)])

    def _selected(self) -> JobQuerySet:
        jobs: JobQuerySet = Job.objects.using(self.using).all()
        if self.selection.queues is not None:
            jobs = jobs.filter(queue__in=self.selection.queues)
        return jobs if self.selection.where is None else jobs.filter(self.selection.where)


def _is_over(limit: int | None, attempts: int, ends_at: float | None) -> bool:
    spent = limit is not None and attempts >= limit
    return spent or (ends_at is not None and time.monotonic() >= ends_at)


class _Inline:
    """The receiver that runs what is enqueued."""

    def __init__(self, budget: _Budget, *, ignore_delays: bool) -> None:
        self.budget = budget
        self.ignore_delays = ignore_delays
        self.error: Exception | None = None
        self._first: int | None = None

    def receive(self, *, job: Job, **kwargs: Any) -> None:
        """Run the job; called by `enqueue`, perhaps from the handler of another job.

        Errors are kept for the end of the block, since those of a receiver are not raised.
        """
        if self._first is None:
            self._first = job.pk
        depth = _depth.get()
        if self.error is not None or depth >= DEEPEST:
            return
        token = _depth.set(depth + 1)
        try:
            # The outermost runs what those inside had to leave, too.
            self._run(Q(pk=job.pk) if depth else Q(pk__gte=self._first))
            _bring_up_to_date(job)
        except Exception as error:
            self.error = error
        finally:
            _depth.reset(token)

    def _run(self, where: Q) -> None:
        selection = replace(default_selection(None), where=where)
        _Drain(selection, self.budget, ignore_delays=self.ignore_delays).run()


def _bring_up_to_date(job: Job) -> None:
    try:
        job.refresh_from_db()
    except Job.DoesNotExist:
        # Deleted on completion, or superseded.
        return


def _matching(task: Target, input: dict[str, Any]) -> list[Job]:
    jobs = Job.objects.using(database_alias()).filter(slug=_slug(task), **_options(task))
    return [job for job in jobs.order_by("id") if _has_input(job, input)]


def _slug(task: Target) -> str:
    return task if isinstance(task, str) else task.slug


def _options(task: Target) -> dict[str, Any]:
    """Return the columns that a call asks for."""
    options = task.options if isinstance(task, Call) else None
    given = {name: getattr(options, name, None) for name in ("queue", "priority", "wait_until")}
    return {name: value for name, value in given.items() if value is not None}


def _has_input(job: Job, wanted: dict[str, Any]) -> bool:
    """Whether the wanted values are the job's, as they are stored or as the handler gets them."""
    if all(name in job.input and _equals(job.input[name], wanted[name]) for name in wanted):
        return True
    restored = _restored(job)
    return all(name in restored and restored[name] == value for name, value in wanted.items())


def _equals(stored: Any, wanted: Any) -> bool:
    try:
        return bool(stored == normalise(wanted))
    except (TypeError, ValueError):
        return False


def _restored(job: Job) -> dict[str, Any]:
    declaration = registry.find(job.slug)
    try:
        return declaration.input_schema.restore(job.input) if declaration else job.input
    except Exception:
        return {}


def _wanted(task: Target, input: dict[str, Any]) -> str:
    given = {**input, **_options(task)}
    listed = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"{_slug(task)!r}" + (f" with {listed}" if listed else "")


def _enqueued(task: Target) -> str:
    """Return a list of the jobs of the same task, or else of all."""
    jobs = Job.objects.using(database_alias()).order_by("id")
    same = list(jobs.filter(slug=_slug(task)))
    found = same or list(jobs)
    if not found:
        return " Nothing was enqueued at all."
    listed = "".join(f"\n  {_described(job)}" for job in found[-20:])
    return f" These were{' for the task' if same else ''}:{listed}"


def _described(job: Job) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in job.input.items())
    return f"{job.slug}({given}) on {job.queue}, {job.status}"
