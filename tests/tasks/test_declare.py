from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy

from django_jobs import (
    Concurrency,
    Retry,
    Schedule,
    Task,
    Workflow,
    register_task,
    register_workflow,
    task,
    workflow,
)

ROOT = Path(__file__).resolve().parents[2]


def handler(n: int = 0) -> int:
    return n


def of_context(ctx: Any, n: int = 0) -> int:
    return n


def test_a_bare_decorator_declares_a_task_with_the_defaults() -> None:
    @task
    def send_mail(to: str) -> None:
        """Say hello."""

    assert type(send_mail) is Task
    test = test_a_bare_decorator_declares_a_task_with_the_defaults.__name__
    assert send_mail.slug == f"{__name__}.{test}.<locals>.send_mail"
    assert str(send_mail.label) == "Send mail"
    assert (send_mail.queue, send_mail.priority, send_mail.schedule) == ("default", 0, ())
    for option in ("retries", "concurrency", "output_schema", "unique", "timeout"):
        assert getattr(send_mail, option) is None
    assert (send_mail.atomic, send_mail.takes_context) == (False, False)
    assert (send_mail.on_success, send_mail.on_fail) == (None, None)
    assert getattr(send_mail, "__name__", None) == "send_mail"
    assert send_mail.__doc__ == "Say hello."


def test_every_option_is_kept_in_its_settled_form() -> None:
    def key(input: dict[str, Any], queue: str) -> str:
        return queue

    def note(context: Any) -> None: ...

    class Given(forms.Form):
        n = forms.IntegerField()

    @task(
        slug="all",
        label=gettext_lazy("Everything"),
        queue="media",
        priority=-100,
        retries=3,
        concurrency=key,
        schedule="*/5 * * * *",
        input_schema=Given,
        output_schema=Given,
        takes_context=True,
        unique=True,
        timeout=1.5,
        atomic=True,
        on_success=note,
        on_fail=note,
    )
    def everything(ctx: Any, n: int) -> None: ...

    assert (everything.slug, str(everything.label)) == ("all", "Everything")
    assert (everything.queue, everything.priority) == ("media", -100)
    assert everything.retries == Retry(attempts=3)
    assert everything.concurrency == Concurrency(key=key)
    assert [schedule.cron for schedule in everything.schedule] == ["*/5 * * * *"]
    assert everything.output_schema is not None
    assert (everything.takes_context, everything.unique, everything.atomic) == (True, True, True)
    assert everything.timeout == timedelta(seconds=1.5)
    assert (everything.on_success, everything.on_fail) == (note, note)


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_the_whole_range_of_priorities_is_taken(priority: int) -> None:
    assert task(slug="a", priority=priority)(handler).priority == priority


@pytest.mark.parametrize(
    ("schedule", "count"),
    [((), 0), ("@daily", 1), (Schedule("@daily"), 1), ([Schedule("@daily"), "@hourly"], 2)],
)
def test_a_schedule_is_one_or_a_list(schedule: Any, count: int) -> None:
    assert len(task(slug="a", schedule=schedule)(handler).schedule) == count


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"priority": -101}, ValueError),
        ({"priority": 1.5}, TypeError),
        ({"priority": True}, TypeError),
        ({"priority": "1"}, TypeError),
        ({"queue": ""}, ValueError),
        ({"queue": "a,b"}, ValueError),
        ({"queue": "q" * 256}, ValueError),
        ({"queue": 7}, TypeError),
        ({"retries": "3"}, TypeError),
        ({"retries": True}, TypeError),
        ({"retries": 1.5}, TypeError),
        ({"concurrency": "key"}, TypeError),
        ({"schedule": 7}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": math.inf}, ValueError),
        ({"timeout": timedelta(0)}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"unique": "key"}, TypeError),
        ({"unique": 1}, TypeError),
        ({"on_success": "f"}, TypeError),
        ({"on_fail": 1}, TypeError),
        ({"takes_context": 1}, TypeError),
        ({"atomic": "yes"}, TypeError),
        ({"input_schema": dict}, ImproperlyConfigured),
        ({"output_schema": 7}, ImproperlyConfigured),
        ({"label": 7}, TypeError),
        ({"retires": 3}, TypeError),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence_that_names_task_and_option(
    options: dict[str, Any], error: type[Exception]
) -> None:
    option = next(iter(options))
    with pytest.raises(error) as raised:
        task(slug="wrong-one", **options)(handler)
    assert "wrong-one" in str(raised.value)
    assert option in str(raised.value)


def test_negative_retries_are_refused_with_the_name_of_the_task() -> None:
    with pytest.raises(ValueError, match="'wrong-one': 'attempts' of Retry must not be negative"):
        task(slug="wrong-one", retries=-1)(handler)


@pytest.mark.parametrize("options", [{"attempts": -1}, {"backoff": "linear"}, {"delay": -1}])
def test_a_wrong_retry_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Retry(**options)


@pytest.mark.parametrize(
    ("slug", "error"),
    [
        ("", ValueError),
        ("s" * 256, ValueError),
        ("a\x00", ValueError),
        (7, TypeError),
        ("inline", ImproperlyConfigured),
    ],
)
def test_a_wrong_slug_is_refused_with_the_place_of_the_handler(
    slug: Any, error: type[Exception]
) -> None:
    for decorator, function in ((task, handler), (workflow, of_context)):
        with pytest.raises(error) as raised:
            decorator(slug=slug)(function)
        assert f"{__name__}.{function.__qualname__}" in str(raised.value)


def test_a_slug_is_unique_among_tasks_and_workflows() -> None:
    task(slug="twice")(handler)
    with pytest.raises(ImproperlyConfigured, match="'twice' is declared twice") as raised:
        workflow(slug="twice")(of_context)
    assert f"{__name__}.handler" in str(raised.value)
    assert f"{__name__}.of_context" in str(raised.value)
    with pytest.raises(ImproperlyConfigured, match="'twice' is declared twice"):
        register_task("twice", handler="reports.pdf.render")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda: None, "is a lambda"),
        (functools.partial(handler, n=1), "Give it a slug="),
    ],
)
def test_a_handler_needs_a_name_that_other_processes_know(function: Any, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        task(function)


def test_a_task_is_no_handler_of_another() -> None:
    declared = task(slug="declared")(handler)
    with pytest.raises(ImproperlyConfigured, match="is a task already"):
        task(slug="again")(declared)


@pytest.mark.parametrize("value", [7, object()])
def test_a_handler_is_a_function(value: Any) -> None:
    with pytest.raises(TypeError, match="no function"):
        task(slug="a")(value)


def test_a_slug_is_no_positional_argument() -> None:
    with pytest.raises(TypeError, match=r"Write @task\(slug='sync'\)"):
        task("sync")  # type: ignore[call-overload]


@pytest.mark.parametrize("decorator", [workflow, functools.partial(task, takes_context=True)])
def test_a_handler_without_a_parameter_for_the_context_is_refused(decorator: Any) -> None:
    def without() -> None: ...

    def by_keyword(*, ctx: Any) -> None: ...

    for function in (without, by_keyword):
        with pytest.raises(ImproperlyConfigured, match="JobContext as its first argument"):
            decorator(slug="a")(function)


def test_what_cannot_be_atomic_is_refused() -> None:
    async def asynchronous() -> None: ...

    with pytest.raises(ValueError, match="'a' cannot be atomic"):
        workflow(slug="a", atomic=True)(of_context)
    with pytest.raises(ValueError, match=r"'a' cannot be atomic.*Use a plain function"):
        task(slug="a", atomic=True)(asynchronous)


def test_a_refused_declaration_leaves_its_slug_free() -> None:
    with pytest.raises(ValueError, match="priority"):
        task(slug="a", priority=1000)(handler)
    assert task(slug="a")(handler).slug == "a"


def test_a_workflow_always_takes_the_context() -> None:
    flow = workflow(slug="a", queue="flows")(of_context)
    assert type(flow) is Workflow
    assert (flow.takes_context, flow.queue, flow.kind) == (True, "flows", "workflow")


def test_a_declaration_by_path_imports_nothing() -> None:
    declared = register_task("by-path", handler="no.such.module.function", retries=2)
    assert (declared.slug, declared.retries) == ("by-path", Retry(2))
    assert str(declared.label) == "By path"
    flow = register_workflow("flow-by-path", handler="no.such.module.function")
    assert type(flow) is Workflow
    with pytest.raises(ImportError):
        declared()


def test_a_path_has_a_dot() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'by-path'.*no dotted path"):
        register_task("by-path", handler="render")


def python(code: str, **env: str) -> str:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "", **env}
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def test_tasks_can_be_declared_without_settings_models_or_a_ready_registry() -> None:
    code = """
import sys
import django_jobs
from django_jobs import Concurrency, Retry, Schedule, register_task, task, workflow

@task(retries=3, concurrency=lambda input, queue: None, schedule="@daily", unique=True)
def early(n: int) -> int:
    return n

@workflow
def flow(ctx, n: int): ...

register_task("late", handler="a.b")
assert early(3) == 3
assert "django_jobs.models" not in sys.modules
from django.apps import apps
assert not apps.ready
print("declared")
"""
    assert python(code) == "declared"


def test_what_was_declared_before_the_registry_was_ready_can_be_enqueued_after() -> None:
    code = """
from django_jobs import task

@task(slug="early")
def early(n: int) -> int:
    return n

import django
django.setup()
from django_jobs.tasks import registry
assert registry.get("early") is early
print(early.input_schema.validate({"n": 3}))
"""
    assert python(code, DJANGO_SETTINGS_MODULE="tests.settings") == "{'n': 3}"
