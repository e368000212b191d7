"""`ctx.parallel()`: steps that run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django_jobs.worker import steps
from django_jobs.worker.connections import tidy_connections
from django_jobs.worker.pool import Pool

if TYPE_CHECKING:
    from django_jobs.tasks.retry import Retry
    from django_jobs.worker.context import JobContext, Runnable

DEFAULT_WORKERS = 8


class StepResult:
    """A step of a parallel block; `output` is there when the block has ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._output: Any = None
        self.error: BaseException | None = None
        self.done = False

    @property
    def output(self) -> Any:
        """The output; raises what the step raised, RuntimeError inside of the block."""
        if not self.done:
            raise RuntimeError(
                f"The output of {self._name} is known when the `with` block has ended."
            )
        if self.error is not None:
            raise self.error
        return self._output

    def settle(self, function: Callable[[], Any]) -> None:
        try:
            self._output = function()
        except BaseException as error:
            self.error = error
        finally:
            self.done = True


class ParallelGroup:
    """Starts each step at once, in threads; waits for all of them at the end of the block."""

    def __init__(self, context: JobContext, max_workers: int | None) -> None:
        if max_workers is not None and (isinstance(max_workers, bool) or max_workers < 1):
            raise ValueError("max_workers of parallel() must be at least 1.")
        self._context = context
        self._inline = context._attempt.runtime.inline
        self._pool = Pool(max_workers or DEFAULT_WORKERS, name="jobs-parallel")
        self._results: list[StepResult] = []
        self._finished = threading.Semaphore(0)

    def run(self, task_id: str, task: Runnable, /, **input: Any) -> StepResult:
        """See JobContext.run()."""
        return self._start(self._context._task_step(task_id, task, input))

    def inline(
        self, task_id: str, function: Callable[..., Any], /, *,
        input: Mapping[str, Any] | None = None, retries: int | Retry | None = None,
    ) -> StepResult:  # fmt: skip
        """See JobContext.inline()."""
        return self._start(self._context._inline_step(task_id, function, input, retries))

    def _start(self, step: steps.Step) -> StepResult:
        result = StepResult(f"{step.slug} {step.task_id}")
        self._results.append(result)
        attempt = self._context._attempt
        if self._inline or attempt.runtime.records_directly:
            result.settle(lambda: steps.run(attempt, step))
            self._finished.release()
        else:
            inherited = copy_context()
            self._pool.submit(lambda: self._run(result, inherited.run, step))
        return result

    def _run(self, result: StepResult, run: Callable[..., Any], step: steps.Step) -> None:
        result.settle(lambda: run(steps.run, self._context._attempt, step))
        tidy_connections()
        self._finished.release()

    def __enter__(self) -> ParallelGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for _ in self._results:
            self._finished.acquire()
        self._pool.close()
        if error is None:
            self._raise_first_error()

    def _raise_first_error(self) -> None:
        errors = [result.error for result in self._results if result.error is not None]
        if errors:
            self._context._attempt.join_failures(errors[0], errors[1:])
            raise errors[0]
