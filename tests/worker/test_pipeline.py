from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import Retry, Step, task, workflow_from_steps
from django_jobs.models import Job
from tests.worker.support import entries, error_of, run, run_until_finished

pytestmark = pytest.mark.django_db


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def note(ran: list[str]) -> Any:
    @task(slug="noted")
    def note(name: str = "", fail: bool = False) -> str:
        ran.append(name)
        if fail and ran.count(name) < 3:
            raise ValueError(name)
        return name.upper()

    return note


def complete(job: Job, task_id: str) -> bool:
    status = job.task_status.get("noted", {}).get(task_id)
    return status is not None and status.complete


def after(task_id: str) -> Any:
    return lambda job: complete(job, task_id)


def named(name: str, **options: Any) -> Any:
    return {"input": lambda job: {"name": name, **options}}


def test_steps_run_in_rounds_as_their_conditions_come_to_hold(note: Any, ran: list[str]) -> None:
    flow = workflow_from_steps(
        "flow",
        [
            Step("c", note, condition=after("b"), **named("c")),
            Step("b", note, condition=after("a"), **named("b")),
            Step("a", "noted", **named("a")),
            Step("never", note, condition=lambda job: False, **named("never")),
        ],
    )
    job = flow.enqueue()
    assert run(job) == "success"
    assert ran == ["a", "b", "c"]
    assert job.output == {"a": "A", "b": "B", "c": "C"}
    assert entries(job, "task_slug", "task_id", "state") == [
        ("noted", name, "succeeded") for name in "abc"
    ]


@pytest.mark.django_db(transaction=True)
def test_the_steps_of_a_round_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    @task
    def meet() -> None:
        both.wait(10)

    flow = workflow_from_steps("flow", [Step("a", meet), Step("b", meet)])
    job = flow.enqueue()
    assert run(job) == "success"


def test_the_job_ends_after_a_step_that_completes_it(note: Any, ran: list[str]) -> None:
    flow = workflow_from_steps(
        "flow",
        [
            Step("a", note, completes_job=True, **named("a")),
            Step("b", note, **named("b")),
            Step("c", note, condition=after("a"), **named("c")),
        ],
    )
    job = flow.enqueue()
    assert run(job) == "success"
    assert sorted(ran) == ["a", "b"]


def test_input_and_condition_get_the_job(note: Any, ran: list[str]) -> None:
    flow = workflow_from_steps(
        "flow",
        [
            Step("a", note, input=lambda job: {"name": job.input["who"]}),
            Step(
                "b",
                note,
                input=lambda job: {"name": f"{job.task_status['noted']['a'].output}!"},
                condition=after("a"),
            ),
            Step("c", note, input={"name": "plain"}),
            Step("d", note),
        ],
    )
    job = flow.enqueue(who="ada")
    run(job)
    assert job.output == {"a": "ADA", "b": "ADA!", "c": "PLAIN", "d": ""}


def test_after_a_failure_the_finished_steps_are_not_run_again(note: Any, ran: list[str]) -> None:
    flow = workflow_from_steps(
        "flow",
        [
            Step("a", note, **named("a")),
            Step("b", note, retries=2, condition=after("a"), **named("b", fail=True)),
            Step("c", note, condition=after("b"), **named("c")),
        ],
    )
    job = flow.enqueue()
    assert run(job) == "error"
    run_until_finished(job)
    assert job.status == Job.Status.SUCCESSFUL
    assert ran == ["a", "b", "b", "b", "c"]
    assert job.output == {"a": "A", "b": "B", "c": "C"}
    assert job.task_status["noted"]["b"].total_tried == 3


@pytest.mark.parametrize(
    ("of_flow", "of_step", "attempts"), [(None, None, 1), (None, 1, 2), (0, 1, 1), (1, None, 2)]
)
def test_steps_retry_as_any_other(
    note: Any, ran: list[str], of_flow: int | None, of_step: int | None, attempts: int
) -> None:
    step = Step("a", note, retries=of_step, **named("a", fail=True))
    flow = workflow_from_steps("flow", [step], retries=of_flow)
    job = run_until_finished(flow.enqueue())
    assert job.status == Job.Status.FAILED
    assert ran == ["a"] * attempts


def test_an_empty_workflow_succeeds_at_once() -> None:
    job = workflow_from_steps("flow", [Step("a", "noted", condition=lambda job: False)]).enqueue()
    assert run(job) == "success"
    assert job.output == {}


def test_a_condition_that_raises_is_a_failure_of_the_workflow(note: Any) -> None:
    flow = workflow_from_steps("flow", [Step("a", note, condition=lambda job: bool(1 / 0))])
    job = flow.enqueue()
    run(job)
    assert error_of(job)["name"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("", "noted"), {}, TypeError),
        ((7, "noted"), {}, TypeError),
        (("a", len), {}, TypeError),
        (("a", "noted"), {"condition": True}, TypeError),
        (("a", "noted"), {"input": 7}, TypeError),
        (("a", "noted"), {"retries": "3"}, TypeError),
        (("a", "noted"), {"retries": -1}, ValueError),
    ],
)
def test_a_wrong_step_is_refused_at_declaration(
    arguments: tuple[Any, Any], options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Step(*arguments, **options)


def test_a_workflow_is_made_of_steps_each_once(note: Any) -> None:
    with pytest.raises(TypeError, match="'flow' is made of Step objects"):
        workflow_from_steps("flow", [note])
    with pytest.raises(ImproperlyConfigured, match="has the step 'a' of 'noted' twice"):
        workflow_from_steps("flow", [Step("a", note), Step("a", "noted", retries=Retry(1))])
