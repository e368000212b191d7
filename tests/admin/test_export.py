"""The jobs of a list as CSV and JSON."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from django.test import override_settings

from django_jobs.admin import export
from django_jobs.models import Job
from tests.admin.support import HOSTILE, LIST, declare
from tests.worker.support import run

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def as_csv(client: Any, **query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text_of(client.get(f"{LIST}export.csv", query)).splitlines()))


def as_json(client: Any, **query: str) -> Any:
    return json.loads(text_of(client.get(f"{LIST}export.json", query)))


def test_the_jobs_that_match_are_exported_newest_first(admin_client) -> None:
    first = declare().using(queue="mail").enqueue(text="a")
    second = declare("broken").using(queue="mail").enqueue(text="b", fail=True)
    declare("other").enqueue()
    run(second)
    (broken, plain) = as_csv(admin_client, queue="mail")
    assert [int(plain["id"]), int(broken["id"])] == [first.pk, second.pk]
    assert broken["error"] == "ValueError: No 'b' here"
    assert json.loads(plain["input"])["text"] == "a"
    (broken, plain) = as_json(admin_client, queue="mail")
    assert plain["input"]["text"] == "a"
    assert (plain["status"], broken["status"]) == ("ready", "failed")
    assert plain["error"] is None


@pytest.mark.parametrize("number", [0, 1, 4, 5])
def test_an_export_in_batches_has_every_job_once(
    admin_client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(export, "BATCH", 2)
    declare().enqueue_many([{}] * number)
    everyone = list(Job.objects.order_by("-id").values_list("id", flat=True))
    assert [record["id"] for record in as_json(admin_client)] == everyone
    assert [int(record["id"]) for record in as_csv(admin_client)] == everyone


@override_settings(DJANGO_JOBS={"REDACT": ["token"]})
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_redacted_fields_are_not_exported(admin_client, kind: str) -> None:
    declare().enqueue(token="hunter2", text="shown")
    text = text_of(admin_client.get(f"{LIST}export.{kind}"))
    assert "hunter2" not in text
    assert "•••" in text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(admin_client, start: str) -> None:
    formula = f"{start}HYPERLINK(1)"
    Job.objects.create(slug=formula, queue=formula, concurrency_key=formula, priority=-5)
    text = text_of(admin_client.get(f"{LIST}export.csv"))
    (record,) = csv.DictReader(text.splitlines(keepends=True))
    for column in ("slug", "queue", "concurrency_key"):
        assert record[column].startswith(f"'{start}")
    assert record["priority"] == "-5"


def test_hostile_text_is_sent_as_what_it_is(admin_client) -> None:
    declare(HOSTILE).enqueue()
    response = admin_client.get(f"{LIST}export.csv")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="jobs.csv"'
    assert HOSTILE in text_of(response)


def test_it_needs_the_permission_to_look(staff) -> None:
    assert staff("retry_job").get(f"{LIST}export.csv").status_code == 403


def test_another_format_is_not_found(admin_client) -> None:
    assert admin_client.get(f"{LIST}export.xls").status_code == 404
