"""A site that has something of everything to show on the pages of the admin."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.utils import timezone

from django_jobs import JobCancelledError, JobContext, Retry, jobs, task, workflow
from django_jobs.models import Job, JobSchedule, JobStatus, Worker
from tests.browser.support import run_jobs

HOSTILE = "<script>document.title = 'hacked'</script>"


def build() -> dict[str, Job]:
    """Declare tasks, for this test; return a job of each state by the state's name."""

    @task(slug="greet", label="Greet somebody", queue="mail")
    def greet(name: str, token: str = "") -> str:
        return f"Hello {name}"

    @task(slug="pack", label="Pack an order")
    def pack(shelf: int) -> None:
        raise LookupError(f"Shelf {shelf} is empty. {HOSTILE}")

    @task(slug="order-more", label="Order more", retries=Retry(3, delay=3600))
    def order_more() -> None:
        raise ConnectionError("The supplier is away.")

    @task(slug="refund", label="Refund")
    def refund() -> None:
        raise JobCancelledError("It was paid back already.")

    @task(slug="count-till", label="Count the till", concurrency=lambda input, queue: "till:1")
    def count_till() -> None: ...

    @workflow(slug="fulfil", label="Fulfil an order")
    def fulfil(ctx: JobContext, order: int) -> None:
        ctx.log(f"Order {order} {HOSTILE}", order=order)
        ctx.run("greet", greet, name="Ada")
        ctx.inline("fetch", lambda: {"lines": [order] * 3})
        ctx.set_progress(1, 3, message="one of three")
        ctx.wait_for_event("payment", f"paid:{order}", timeout=timedelta(days=2))

    @workflow(slug="deliver", label="Deliver an order")
    def deliver(ctx: JobContext, order: int) -> None:
        ctx.run("greet", greet, name="Ada")
        ctx.run("pack", pack, shelf=order)

    made = {
        "successful": greet.enqueue(name=HOSTILE, token="s3cret"),
        "failed": pack.enqueue(shelf=7),
        "retrying": order_more.enqueue(),
        "cancelled": refund.enqueue(),
        "workflow": deliver.enqueue(order=9),
        "waiting": fulfil.enqueue(order=7),
    }
    pack.enqueue(shelf=8)
    run_jobs()
    made |= {"running": count_till.enqueue(), "held": count_till.enqueue()}
    made["ready"] = greet.enqueue(name="Grace")
    made["delayed"] = greet.using(wait_until=timezone.now() + timedelta(hours=1)).enqueue(name="A")
    _add_worker(made["running"])
    JobSchedule.objects.create(slug="greet", cron="0 9 * * 1", input={"name": "Monday"})
    jobs.pause_queue("reports")
    return made


def _add_worker(job: Job) -> None:
    """Let a worker that is alive run this job."""
    now = timezone.now()
    worker = Worker.objects.create(
        host="shop-1", pid=4242, queues=["default"], started_at=now, last_heartbeat_at=now,
        jobs_running=1,
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(
        status=JobStatus.RUNNING, started_at=now, processing_token=uuid.uuid4(),
        processing_until=now + timedelta(minutes=5), worker=worker,
    )  # fmt: skip
