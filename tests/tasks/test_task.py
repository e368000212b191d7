from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.template import Context, Template
from django.test import override_settings

from django_jobs import InvalidInputError, Retry, task, workflow
from django_jobs.models import Job


@task(slug="add")
def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.fixture(autouse=True)
def declared(isolated_registry: None) -> None:
    from django_jobs.tasks import registry

    if registry.find("add") is None:
        registry.add(add)


def test_calling_a_task_runs_the_function_in_process_with_no_job() -> None:
    assert add(1) == 2
    assert add(1, b=4) == 5
    assert add.using(queue="high")(2) == 3
    with pytest.raises(TypeError):
        add()


def test_calling_an_async_task_gives_its_coroutine() -> None:
    @task
    async def double(n: int) -> int:
        return n * 2

    assert asyncio.run(double(4)) == 8


def test_a_declaration_prints_as_its_slug() -> None:
    assert (str(add), repr(add)) == ("add", "<Task 'add'>")


def test_options_of_a_call_do_not_change_the_task() -> None:
    high = add.using(queue="high", priority=5)
    higher = high.using(priority=9, retries=2)
    assert (add.queue, add.priority, add.retries) == ("default", 0, None)
    assert (high.options.queue, high.options.priority) == ("high", 5)
    assert (higher.options.queue, higher.options.priority) == ("high", 9)
    assert higher.options.retries == Retry(2)
    assert high.options.retries is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"priority": "1"}, TypeError),
        ({"queue": ""}, ValueError),
        ({"queue": 7}, TypeError),
        ({"wait_until": "tomorrow"}, TypeError),
        ({"wait_until": datetime(2026, 1, 1)}, ValueError),
        ({"retries": -1}, ValueError),
        ({"retries": "1"}, TypeError),
        ({"meta": ["a"]}, TypeError),
        ({"meta": {"a": object()}}, InvalidInputError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_a_wrong_option_of_a_call_is_refused_at_once(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        add.using(**options)


@pytest.mark.django_db
def test_the_options_of_a_call_are_those_of_its_job() -> None:
    due = datetime(2026, 1, 1, tzinfo=UTC)
    call = add.using(queue="high", priority=5, wait_until=due, meta={"who": "ada"}, retries=2)
    job = call.enqueue(a=1)
    job.refresh_from_db()
    assert (job.slug, job.kind, job.queue, job.priority) == ("add", "task", "high", 5)
    assert (job.wait_until, job.meta) == (due, {"who": "ada"})
    assert job.status == Job.Status.READY


@pytest.mark.django_db
def test_positional_and_named_arguments_are_stored_by_name() -> None:
    assert add.enqueue(1, 2).input == {"a": 1, "b": 2}
    assert add.enqueue(1, b=2).input == {"a": 1, "b": 2}
    assert add.enqueue(a=1).input == {"a": 1}


@pytest.mark.django_db
def test_many_jobs_are_enqueued_in_order_or_none_at_all() -> None:
    given = add.enqueue_many([{"a": 1}, {"a": 2, "b": 3}])
    assert [job.input for job in given] == [{"a": 1}, {"a": 2, "b": 3}]
    assert all(job.pk for job in given)
    with pytest.raises(InvalidInputError):
        add.enqueue_many([{"a": 1}, {"c": 2}])
    assert Job.objects.count() == 2
    assert add.enqueue_many([]) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("input", "fields"),
    [({}, {"a"}), ({"a": 1, "c": 2}, {"c"}), ({"b": "x", "c": 2}, {"a", "b", "c"})],
)
def test_every_offending_argument_is_named_and_nothing_stored(
    input: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(InvalidInputError, match="'add'") as raised:
        add.enqueue(**input)
    assert set(raised.value.errors) == fields
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_the_context_is_no_part_of_the_input() -> None:
    @workflow
    def flow(ctx: Any, user_id: int) -> None: ...

    job = flow.enqueue(7)
    assert (job.kind, job.input) == ("workflow", {"user_id": 7})
    with pytest.raises(InvalidInputError):
        flow.enqueue(**{"ctx": 1, "user_id": 7})


@pytest.mark.django_db(transaction=True)
def test_the_async_twins_enqueue_alike() -> None:
    async def enqueue() -> list[Job]:
        later = timedelta(minutes=1) + datetime.now(UTC)
        return [
            await add.aenqueue(1, b=2),
            await add.using(wait_until=later).aenqueue(a=3),
            *await add.aenqueue_many([{"a": 4}]),
        ]

    from asgiref.sync import async_to_sync

    given = async_to_sync(enqueue)()
    assert [job.input for job in given] == [{"a": 1, "b": 2}, {"a": 3}, {"a": 4}]
    assert Job.objects.delayed().count() == 1


@pytest.mark.django_db
def test_retries_that_cannot_be_stored_with_a_job_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"The retries given to 'add'.*declare them on the task"):
        add.using(retries=Retry(1, retry_on=OSError)).enqueue(a=1)
    assert not Job.objects.exists()


@pytest.mark.django_db
@override_settings(DJANGO_JOBS={"MAX_INPUT_BYTES": 20})
def test_an_input_that_is_too_large_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidInputError, match=r"'add' has \d+ bytes, more than the 20"):
        add.enqueue(a=10**30)


def test_a_template_that_shows_a_task_does_not_run_it() -> None:
    ran = []

    @task(slug="shown", label="Label")
    def shown() -> None:
        ran.append(1)

    template = Template("{% if task %}{{ task.label }}{{ call.slug }}{% endif %}")
    page = template.render(Context({"task": shown, "call": shown.using(queue="a")}))
    assert (page, ran) == ("Labelshown", [])
