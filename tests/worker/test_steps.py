from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from django import forms
from django.test import override_settings

from django_jobs import InvalidInputError, UnknownTaskError, jobs, task, workflow
from django_jobs.models import Job
from tests.testapp.models import Entry, Receipt
from tests.worker.support import entries, error_of, run, run_until_finished

pytestmark = pytest.mark.django_db


class Color(Enum):
    RED = "red"


def test_a_step_returns_its_output_as_it_is_stored() -> None:
    @task
    def measure(size: int) -> Any:
        return {"size": (size, size), "day": date(2026, 1, 2)}

    @workflow
    def measuring(ctx: Any) -> Any:
        return ctx.run("a", measure, size=3)

    job = measuring.enqueue()
    run(job)
    stored = {"size": [3, 3], "day": "2026-01-02"}
    assert job.output == stored
    status = job.task_status[measure.slug]["a"]
    assert (status.input, status.output) == ({"size": 3}, stored)
    assert (status.complete, status.total_tried) == (True, 1)
    assert entries(job, "task_slug", "task_id", "state", "input", "output", "error") == [
        (measure.slug, "a", "succeeded", {"size": 3}, stored, None)
    ]


def test_a_step_is_run_by_its_slug_too() -> None:
    @task(slug="add-one")
    def add_one(to: int) -> int:
        return to + 1

    @workflow
    def adding(ctx: Any) -> Any:
        return ctx.run("a", "add-one", to=1)

    job = adding.enqueue()
    run(job)
    assert job.output == 2


def test_steps_are_told_apart_by_slug_and_task_id() -> None:
    @task
    def one(n: int) -> int:
        return n

    @task
    def other(n: int) -> int:
        return -n

    @workflow
    def several(ctx: Any) -> list[int]:
        return [
            ctx.run("a", one, n=1),
            ctx.run("a", other, n=1),
            ctx.run("b", one, n=2),
            ctx.run("a", one, n=3),
        ]

    job = several.enqueue()
    run(job)
    assert job.output == [1, -1, 2, 1]
    assert len(entries(job, "id")) == 3


def test_the_context_tells_what_became_of_the_steps() -> None:
    seen: list[Any] = []

    def note(ctx: Any) -> None:
        seen.append(
            {
                slug: {task_id: (s.input, s.output, s.complete, s.total_tried)}
                for slug, by_id in ctx.task_status.items()
                for task_id, s in by_id.items()
            }
        )

    @task(takes_context=True, retries=1)
    def second_time(ctx: Any, n: int) -> int:
        if ctx.attempt == 1:
            raise ValueError
        return n

    @workflow
    def curious(ctx: Any) -> None:
        note(ctx)
        ctx.run("a", second_time, n=5)
        note(ctx)

    run_until_finished(curious.enqueue())
    assert seen == [
        {},
        {second_time.slug: {"a": ({"n": 5}, None, False, 1)}},
        {second_time.slug: {"a": ({"n": 5}, 5, True, 2)}},
    ]


@pytest.mark.parametrize("steps_in_the_log", [True, False])
def test_the_log_names_the_parent_of_a_nested_task(steps_in_the_log: bool) -> None:
    @task
    def inner() -> int:
        return 1

    @task(takes_context=True)
    def outer(ctx: Any) -> int:
        output: int = ctx.run("in", inner) + ctx.inline("line", lambda: 1)
        return output

    @workflow
    def nesting(ctx: Any) -> int:
        output: int = ctx.run("out", outer)
        return output

    job = nesting.enqueue()
    with override_settings(DJANGO_JOBS={"ADD_PARENT_TO_TASK_LOG": steps_in_the_log}):
        run(job)
    assert job.output == 2
    parent = (outer.slug, "out") if steps_in_the_log else ("", "")
    assert entries(job, "task_slug", "task_id", "parent_task_slug", "parent_task_id") == [
        (inner.slug, "in", *parent),
        ("inline", "line", *parent),
        (outer.slug, "out", "", ""),
    ]


def test_the_parent_of_a_single_tasks_step_is_the_task() -> None:
    @task(takes_context=True)
    def outer(ctx: Any) -> None:
        ctx.inline("in", lambda: None)

    job = outer.enqueue()
    run(job)
    assert entries(job, "task_slug", "task_id", "parent_task_slug", "parent_task_id") == [
        ("inline", "in", outer.slug, "1"),
        (outer.slug, "1", "", ""),
    ]


@pytest.mark.parametrize(
    ("of_inner", "of_outer", "inner_runs", "outer_runs"),
    [
        (None, None, 1, 1),
        (2, None, 3, 3),
        (None, 2, 3, 3),
        (1, 5, 2, 2),
        (5, 1, 2, 2),
        (5, 0, 1, 1),
    ],
)
def test_nested_tasks_each_have_their_retries(
    of_inner: int | None, of_outer: int | None, inner_runs: int, outer_runs: int
) -> None:
    runs = {"inner": 0, "outer": 0}

    @task(retries=of_inner)
    def inner() -> None:
        runs["inner"] += 1
        raise ValueError

    @task(retries=of_outer, takes_context=True)
    def outer(ctx: Any) -> None:
        runs["outer"] += 1
        ctx.run("in", inner)

    @workflow
    def nesting(ctx: Any) -> None:
        ctx.run("out", outer)

    run_until_finished(nesting.enqueue())
    assert runs == {"inner": inner_runs, "outer": outer_runs}


def test_a_nested_step_that_is_done_is_not_run_again() -> None:
    runs: list[int] = []

    @task(takes_context=True, retries=2)
    def outer(ctx: Any) -> Any:
        output = ctx.inline("in", lambda: runs.append(1))
        if ctx.attempt < 3:
            raise ValueError
        return output

    job = run_until_finished(outer.enqueue())
    assert job.status == Job.Status.SUCCESSFUL
    assert len(runs) == 1


def test_the_handler_gets_the_types_back_that_it_is_annotated_with() -> None:
    got: dict[str, Any] = {}

    @task
    def typed(
        at: datetime, day: date, for_: timedelta, price: Decimal, key: UUID, color: Color
    ) -> None:
        got.update(locals())

    given: dict[str, Any] = {
        "at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "for_": timedelta(days=1, microseconds=5),
        "price": Decimal("12.30"),
        "key": UUID(int=7),
        "color": Color.RED,
    }

    @workflow
    def passing_on(ctx: Any, at: datetime, price: Decimal) -> None:
        ctx.run("a", typed, **{**given, "at": at, "price": price})

    def checked() -> dict[str, Any]:
        result = {name: got.pop(name) for name in given}
        assert {name: type(value) for name, value in result.items()} == {
            name: type(value) for name, value in given.items()
        }
        return result

    run(typed.enqueue(**given))
    assert checked() == given
    job = passing_on.enqueue(at=given["at"], price=given["price"])
    run(job)
    assert job.error is None
    assert checked() == given


def test_what_a_handler_does_to_its_arguments_does_not_change_the_record() -> None:
    @task
    def greedy(items: list[int]) -> None:
        items.clear()

    @workflow
    def passing_on(ctx: Any, items: list[int]) -> Any:
        ctx.run("a", greedy, items=items)
        return ctx.input

    job = greedy.enqueue(items=[1])
    run(job)
    assert entries(job, "input") == [{"items": [1]}]
    job = passing_on.enqueue(items=[1])
    run(job)
    assert entries(job, "input") == [{"items": [1]}]
    assert job.output == {"items": [1]}


def test_a_wrong_input_of_a_step_is_an_error_of_the_handler() -> None:
    @task
    def strict(n: int) -> None: ...

    @workflow
    def careless(ctx: Any) -> None:
        ctx.run("a", strict, m="x")

    job = careless.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert error_of(job)["name"] == InvalidInputError.__name__
    assert all(field in error_of(job)["message"] for field in ("n", "m"))


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("no.such.task", UnknownTaskError.__name__),
        (len, "TypeError"),
        (None, "TypeError"),
        ("itself", "TypeError"),
    ],
)
def test_only_tasks_are_steps(what: Any, name: str) -> None:
    @workflow(slug="itself")
    def confused(ctx: Any) -> None:
        ctx.run("a", what)

    job = confused.enqueue()
    run(job)
    assert error_of(job)["name"] == name


@pytest.mark.parametrize("task_id", ["", "a" * 256, "a\x00b", 7, None])
def test_a_task_id_is_a_short_text(task_id: Any) -> None:
    @workflow
    def confused(ctx: Any) -> None:
        ctx.inline(task_id, len)

    job = confused.enqueue()
    run(job)
    assert job.status == Job.Status.FAILED
    assert "task_id of a step" in error_of(job)["message"]


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(output, id=f"output {number}")
        for number, output in enumerate(
            [object(), float("nan"), "a\x00b", "\ud800", {1, 2}, 10**5000, {"a": [1, b"x"]}]
        )
    ],
)
def test_an_output_that_json_cannot_hold_fails_the_attempt(output: Any) -> None:
    @task
    def hostile() -> Any:
        return output

    @workflow
    def around(ctx: Any) -> None:
        ctx.run("a", hostile)

    for declared in (hostile, around):
        job = declared.enqueue()
        assert run(job) == "error-reached-max-retries"
        assert error_of(job)["name"] == "InvalidInputError"
        assert f"output of the task {hostile.slug!r}" in error_of(job)["message"]
        assert entries(job, "state") == ["failed"]


def test_an_output_nested_deeper_than_the_database_takes_is_a_failure_at_most() -> None:
    @task
    def deep() -> Any:
        value: Any = 1
        for _ in range(600):
            value = [value]
        return value

    job = deep.enqueue()
    assert run(job) in ("success", "error-reached-max-retries")
    assert job.is_finished


class Sum(forms.Form):
    total = forms.IntegerField(min_value=1)


def test_the_output_schema_decides_what_is_stored() -> None:
    @task(output_schema=Sum, retries=1)
    def add(total: str) -> Any:
        return {"total": total}

    good, bad = add.enqueue(total="3"), add.enqueue(total="0")
    run(good)
    assert good.output == {"total": 3}
    assert run(bad) == "error"
    assert error_of(bad)["name"] == "InvalidInputError"
    assert "total" in error_of(bad)["message"]


def test_a_step_may_do_what_it_likes_in_the_database() -> None:
    Receipt.objects.create(key="taken")

    @task
    def write(key: str) -> None:
        Entry.objects.create(name=key)
        Receipt.objects.create(key=key)

    @workflow
    def writing(ctx: Any) -> None:
        ctx.run("a", write, key="free")
        ctx.run("b", write, key="taken")

    job = writing.enqueue()
    run(job)
    assert error_of(job)["name"] == "IntegrityError"
    # Inside the caller's transaction the earlier step is remembered all the same.
    assert entries(job, "task_id", "state") == [("a", "succeeded"), ("b", "failed")]
    assert job.task_status[write.slug]["a"].complete


def test_a_cancelled_job_stops_before_its_next_step() -> None:
    ran: list[str] = []

    @workflow
    def stopped(ctx: Any) -> None:
        ctx.inline("a", lambda: ran.append("a"))
        jobs.cancel_by_id(ctx.job.pk)
        ctx.inline("b", lambda: ran.append("b"))

    job = stopped.enqueue()
    assert run(job) == "error-reached-max-retries"
    assert ran == ["a"]
    assert job.status == Job.Status.CANCELLED
    assert job.processing_token is None


@pytest.mark.django_db(transaction=True)
def test_a_step_that_was_running_when_the_job_was_cancelled_is_no_success() -> None:
    running, cancelled = threading.Event(), threading.Event()
    ran: list[str] = []

    def step() -> None:
        running.set()
        cancelled.wait(10)

    @workflow
    def stopped(ctx: Any) -> None:
        try:
            ctx.inline("a", step)
        finally:
            ran.append("left")
        ran.append("went on")

    job = stopped.enqueue()
    passing = threading.Thread(target=run_and_close, args=[job.pk])
    passing.start()
    assert running.wait(10)
    assert jobs.cancel_by_id(job.pk) == 1
    cancelled.set()
    passing.join(10)
    job.refresh_from_db()
    assert job.status == Job.Status.CANCELLED
    assert job.processing_token is None
    assert ran == ["left"]
    assert "a" not in job.task_status.get("inline", {})


def run_and_close(pk: int) -> None:
    from django.db import connections

    try:
        jobs.run_by_id(pk)
    finally:
        connections.close_all()
