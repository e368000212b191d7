"""The scenarios. Each begins with an empty database and returns its figures by their names."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmark import fill, process, store
from benchmark.bench import FOR_SHORT_JOBS, Bench, jobs_per_second, wait_for, wait_until
from benchmark.sizes import STEPS
from benchmark.tasks import in_line, noop, pick_up, steps
from django_jobs.models import Job, Worker

Figures = dict[str, float]

# How long a worker takes until it has nothing more to do with its start.
SETTLED_AFTER = 8.0
SECONDS_BETWEEN_PICK_UPS = 0.025


@dataclass(frozen=True, slots=True)
class Scenario:
    title: str
    run: Callable[[Bench], Figures]


def enqueue_one(bench: Bench) -> Figures:
    noop.enqueue(0)
    seconds = []
    for number in range(bench.sizes.singles):
        started = time.perf_counter()
        noop.enqueue(number)
        seconds.append(time.perf_counter() - started)
    return {"jobs/s": len(seconds) / sum(seconds), **percentiles(seconds, 50, 99)}


def enqueue_many(bench: Bench) -> Figures:
    noop.enqueue(0)
    started = time.perf_counter()
    fill.waiting(bench.sizes.jobs)
    return {"jobs/s": bench.sizes.jobs / (time.perf_counter() - started)}


def drain_by_one(bench: Bench) -> Figures:
    return drain(bench)


def drain_by_two(bench: Bench) -> Figures:
    return drain(bench, "--processes=2")


def drain(bench: Bench, *flags: str, after: int = 0) -> Figures:
    bench.say(f"adding {bench.sizes.jobs:,} jobs")
    fill.waiting(bench.sizes.jobs)
    store.analyze()
    return {"jobs/s": bench.drain(*flags, after=after)}


def drain_beside_others(bench: Bench) -> Figures:
    sizes = bench.sizes
    bench.say(f"adding {sizes.finished:,} finished and {sizes.delayed:,} delayed jobs")
    fill.finished(sizes.finished)
    fill.delayed(sizes.delayed)
    return drain(bench, after=last_job())


def drain_beside_a_line(bench: Bench) -> Figures:
    """Drain while many jobs wait for a key that a running one does not let go."""
    bench.say(f"adding {bench.sizes.in_line:,} jobs with one key")
    with tempfile.NamedTemporaryFile() as file:
        for batch in fill.batches(bench.sizes.in_line):
            in_line.enqueue_many([{"file": file.name}] * len(batch))
        after = last_job()
        fill.waiting(bench.sizes.jobs)
        store.analyze()
        jobs = Job.objects.filter(pk__gt=after)
        bench.say(f"running {jobs.count():,} jobs")
        with bench.worker(FOR_SHORT_JOBS) as worker:
            wait_for(jobs, worker)
            # Told to stop first, so that the next in the line is not claimed.
            worker.process.terminate()
            file.close()
    return {"jobs/s": jobs_per_second(jobs)}


def pick_up_latency(bench: Bench) -> Figures:
    """Enqueue one job after the other for a worker that has nothing else to do."""
    with bench.worker() as worker:
        wait_for(Job.objects.filter(pk=pick_up.enqueue(time.time()).pk), worker)
        after = last_job()
        bench.say(f"enqueueing {bench.sizes.pick_ups} jobs, one by one")
        for _ in range(bench.sizes.pick_ups):
            time.sleep(SECONDS_BETWEEN_PICK_UPS)
            pick_up.enqueue(time.time())
        jobs = Job.objects.filter(pk__gt=after)
        wait_for(jobs, worker)
    return percentiles(list(jobs.values_list("output", flat=True)), 50, 95)


def workflow_steps(bench: Bench) -> Figures:
    steps.enqueue_many([{"count": STEPS}] * bench.sizes.workflows)
    return {"steps/s": bench.drain() * STEPS}


def idle(bench: Bench) -> Figures:
    """Let a worker wait for jobs that do not come."""
    seconds = bench.sizes.idle_seconds
    # Or else the database comes to do so by itself, and its transactions are counted too.
    store.analyze()
    with bench.worker() as worker:
        wait_until(Worker.objects.exists, worker)
        store.end_session()
        time.sleep(min(SETTLED_AFTER, seconds))
        bench.say(f"waiting {seconds:.0f} s")
        pid = worker.process.pid
        transactions, cpu = store.transactions(), process.cpu_seconds(pid)
        time.sleep(seconds)
        figures = {
            "transactions/s": _per_second(transactions, store.transactions(), seconds),
            "CPU s in 20 s": _per_second(cpu, process.cpu_seconds(pid), seconds / 20),
            "resident MB": process.resident_megabytes(pid),
        }
    return known(figures)


def memory(bench: Bench) -> Figures:
    """Compare the worker that has run many jobs with itself after the first ones."""
    first, many = bench.sizes.first_jobs, bench.sizes.many_jobs
    figures = {}
    with bench.worker() as worker:
        for jobs, total in ((first, first), (many - first, many)):
            bench.say(f"running {jobs:,} jobs")
            fill.waiting(jobs)
            wait_for(Job.objects.all(), worker)
            resident = process.resident_megabytes(worker.process.pid)
            figures[f"resident MB after {total:,}"] = resident
    return known(figures)


def last_job() -> int:
    return Job.objects.latest("pk").pk


def percentiles(seconds: list[float], *ranks: int) -> Figures:
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"p{rank} ms": ordered[min(len(ordered) * rank // 100, last)] * 1000 for rank in ranks}


def known(figures: dict[str, float | None]) -> Figures:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _per_second(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return (after - before) / seconds


SCENARIOS = {
    "enqueue-one": Scenario("Enqueue one, with its own commit", enqueue_one),
    "enqueue-many": Scenario("Enqueue 1,000 in a call", enqueue_many),
    "drain-1": Scenario("Run jobs, one process", drain_by_one),
    "drain-2": Scenario("Run jobs, two processes", drain_by_two),
    "drain-beside-others": Scenario("… beside finished and delayed jobs", drain_beside_others),
    "drain-beside-a-line": Scenario("… beside jobs that wait for one key", drain_beside_a_line),
    "pick-up": Scenario("From enqueue to the handler", pick_up_latency),
    "steps": Scenario("Durable steps of workflows", workflow_steps),
    "idle": Scenario("A worker without jobs", idle),
    "memory": Scenario("The memory of a worker", memory),
}
