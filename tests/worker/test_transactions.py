"""Handlers and open transactions."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from django_jobs import jobs, signals, task, workflow
from django_jobs.models import Job, JobStatus, database_alias
from django_jobs.queue.claim import Selection, claim
from django_jobs.worker.heartbeat import Heartbeat
from tests.testapp.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_step_inside_of_a_transaction_of_the_handler_is_refused_with_the_remedy() -> None:
    @task(slug="inner")
    def inner() -> None: ...

    @workflow(slug="outer")
    def outer(ctx: Any) -> None:
        with transaction.atomic():
            ctx.run("inner", inner)

    job = outer.enqueue()
    jobs.run()
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert "inside of transaction.atomic()" in job.error["message"]


def test_a_step_that_opens_a_transaction_of_its_own_is_fine() -> None:
    @task(slug="inner")
    def inner() -> None:
        with transaction.atomic():
            Entry.objects.create(name="inner", number=1)

    @workflow(slug="outer")
    def outer(ctx: Any) -> None:
        ctx.run("inner", inner)

    job = outer.enqueue()
    jobs.run()
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCESSFUL


@pytest.mark.only_on("postgresql", "mysql")
def test_the_lease_of_one_job_is_renewed_while_the_row_of_another_is_locked() -> None:
    @task(slug="plain")
    def plain() -> None: ...

    plain.enqueue()
    plain.enqueue()
    using = database_alias()
    lease = timedelta(seconds=60)
    first, second = claim(Selection(queues=("default",), lease=lease), 2, using=using)
    heartbeat = Heartbeat(using, timedelta(hours=1))
    heartbeat.add([first, second])

    def renew() -> None:
        heartbeat.renew()
        connections.close_all()

    renewing = threading.Thread(target=renew)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=first.pk)
        renewing.start()
        renewing.join(10)
        assert not renewing.is_alive()
    renewed = {job.pk: job.processing_until for job in Job.objects.all()}
    assert second.processing_until is not None
    later = renewed[second.pk]
    assert later is not None
    assert later > second.processing_until + timedelta(minutes=30)
    assert renewed[first.pk] == first.processing_until


def test_a_receiver_of_job_started_may_use_the_database_when_the_handler_is_async() -> None:
    seen: list[int] = []

    def listen(*, job: Job, **kwargs: Any) -> None:
        seen.append(Job.objects.filter(status=JobStatus.RUNNING).count())

    @task(slug="async-one")
    async def async_one() -> None: ...

    async_one.enqueue()
    signals.job_started.connect(listen)
    try:
        jobs.run()
    finally:
        signals.job_started.disconnect(listen)
    assert seen == [1]


def test_a_handler_that_swallows_its_timeout_has_failed_all_the_same() -> None:
    @task(slug="stubborn", timeout=0.2)
    def stubborn() -> str:
        try:
            while True:
                sum(range(100))
        except BaseException:
            return "as if nothing had been"

    job = stubborn.enqueue()
    jobs.run()
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["name"] == "TaskTimeoutError"
