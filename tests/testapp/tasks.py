"""What the worker processes of the tests run; what they do is in the journal."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import time
from typing import Any

from django.db import connection, connections, transaction

from django_jobs import Concurrency, JobContext, Retry, task, workflow
from tests.testapp.journal import POLL, current
from tests.testapp.models import Receipt


def key_of(input: dict[str, Any], queue: str) -> str:
    return str(input["key"])


@task(slug="note")
def note(name: str) -> str:
    current().note("note", name)
    return name


@task(slug="hold", concurrency=Concurrency(key=lambda input, queue: input.get("key")))
def hold(name: str, key: str = "") -> str:
    """Run until the gate of this name is open."""
    journal = current()
    journal.note("start", name)
    journal.pass_through(name)
    journal.note("end", name)
    return name


@task(slug="ahold", concurrency=Concurrency(key=lambda input, queue: input.get("key")))
async def ahold(name: str, key: str = "") -> str:
    """See hold(); it says when it was cancelled, and leaves through the gate "left" then."""
    journal = current()
    journal.note("start", name)
    try:
        while not journal.is_open(name):
            await asyncio.sleep(POLL)
    except asyncio.CancelledError:
        journal.note("cancelled", name)
        await asyncio.to_thread(journal.pass_through, "left")
        journal.note("left", name)
        raise
    journal.note("end", name)
    return name


@task(slug="hold-in-thread")
async def hold_in_thread(name: str) -> None:
    """Await a thread that does not hear of any cancellation."""
    current().note("start", name)
    await asyncio.to_thread(current().pass_through, name)


@workflow(slug="hold-between-steps")
def hold_between_steps(ctx: JobContext, name: str) -> None:
    ctx.run("before", note, name=f"{name}-before")
    current().note("start", name)
    current().pass_through(name)
    ctx.run("after", note, name=f"{name}-after")


@task(slug="brief", concurrency=key_of)
def brief(number: int, key: str) -> int:
    journal = current()
    journal.note("start", key, number)
    time.sleep(random.uniform(0, 0.01))
    journal.note("end", key, number)
    return number


@task(slug="brief-step")
def brief_step(number: int, name: str) -> int:
    """Return the moment of this run, so that the run that was recorded can be told."""
    current().note("step", number, name, moment := time.monotonic_ns())
    time.sleep(random.uniform(0, 0.005))
    return moment


@workflow(slug="brief-workflow", concurrency=key_of)
def brief_workflow(ctx: JobContext, number: int, key: str) -> int:
    journal = current()
    journal.note("start", key, number)
    ctx.run("a", brief_step, number=number, name="a")
    with ctx.parallel() as group:
        group.run("b", brief_step, number=number, name="b")
        group.run("c", brief_step, number=number, name="c")
    journal.note("end", key, number)
    return number


@task(slug="die", retries=5)
def die(name: str) -> None:
    """End the process as no handler should."""
    current().note("start", name)
    os._exit(1)


@task(slug="die-once")
def die_once(name: str) -> str:
    journal = current()
    journal.note("start", name)
    if len(journal.lines("start", name)) == 1:
        os._exit(1)
    return name


@task(slug="raise-base")
def raise_base(kind: str) -> None:
    kinds = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}
    raise kinds.get(kind, BaseException)("on purpose")


@task(slug="araise-base")
async def araise_base(kind: str) -> None:
    raise_base.function(kind)


@task(slug="close-connections")
def close_connections() -> int:
    connections.close_all()
    Receipt.objects.create(key="after closing")
    connection.close()
    return 1


@task(slug="leave-transaction-broken")
def leave_transaction_broken() -> None:
    """Leave the connection in a transaction that a database error has broken."""
    transaction.set_autocommit(False)
    Receipt.objects.create(key="in a transaction left open")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM there_is_no_such_table")


@task(slug="count-receipts")
def count_receipts() -> int:
    return Receipt.objects.count()


_eaten: list[bytearray] = []


@task(slug="eat-memory")
def eat_memory(megabytes: int) -> int:
    _eaten.append(bytearray(b"x") * (megabytes * 1024 * 1024))
    current().note("eaten")
    return os.getpid()


@task(slug="block-in-c", timeout=0.3, retries=1)
def block_in_c(name: str) -> None:
    """Block where Python cannot interrupt it, the first time."""
    journal = current()
    journal.note("start", name)
    if len(journal.lines("start", name)) == 1:
        ctypes.CDLL(None).sleep(120)


@workflow(slug="parent-of-two")
def parent_of_two(ctx: JobContext, name: str) -> list[Any]:
    """Hold between the second child and the join, at the first attempt only."""
    children = [ctx.enqueue_child(one, note, name=f"{name}-{one}") for one in ("a", "b")]
    current().note("start", name)
    current().pass_through(name)
    return [child.output for child in ctx.wait_for(children)]


@workflow(slug="nap")
def nap(ctx: JobContext, name: str, seconds: float) -> None:
    current().note("before", name)
    ctx.sleep("nap", seconds)
    current().note("after", name)


@task(slug="fail-first", retries=Retry(attempts=5, delay=0.2), takes_context=True)
def fail_first(ctx: JobContext, times: int) -> None:
    """Fail at as many attempts."""
    if ctx.attempt <= times:
        raise ValueError("on purpose")
