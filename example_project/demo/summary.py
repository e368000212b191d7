"""What became of the jobs of a run, as values to print."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from catalogue.models import ImportProblem, ImportReport
from demo.load import NO_SUCH_FEED
from demo.models import DemoRun
from django_jobs.models import Job, JobLog


@dataclass(slots=True, kw_only=True)
class Line:
    """One row of the table: the jobs of one task or workflow."""

    slug: str
    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    steps_run: int = 0
    steps_restored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The attempts of one job, as sentences."""

    job: Job
    attempts: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    lines: list[Line] = field(default_factory=list)
    story: Story | None
    failures: list[Job]
    reports: list[ImportReport]
    problems: list[ImportProblem]

    @property
    def unexpected(self) -> list[Job]:
        return [job for job in self.failures if not is_meant_to_fail(job)]


def is_meant_to_fail(job: Job) -> bool:
    return job.slug == "import-products" and job.input.get("tenant") == NO_SUCH_FEED


def summarise(run: DemoRun) -> Summary:
    jobs = list(run.jobs().order_by("pk"))
    logs = logs_by_job(run)
    numbers = (run.first_job, run.last_job)
    problems = ImportProblem.objects.filter(report__job_id__range=numbers)
    reports = ImportReport.objects.filter(job_id__range=numbers, finished_at__isnull=False)
    return Summary(
        lines=count(jobs, logs),
        story=find_story(jobs, logs),
        failures=[job for job in jobs if job.has_error],
        reports=list(reports.select_related("tenant").order_by("job_id")),
        problems=list(problems.select_related("report__tenant")),
    )


def logs_by_job(run: DemoRun) -> dict[int, list[JobLog]]:
    """Return the attempts at steps of each job, without the messages, oldest first."""
    logs: dict[int, list[JobLog]] = defaultdict(list)
    entries = JobLog.objects.filter(job_id__gte=run.first_job, job_id__lte=run.last_job)
    for entry in entries.exclude(state=JobLog.State.MESSAGE).order_by("pk"):
        logs[entry.job_id].append(entry)
    return logs


def count(jobs: list[Job], logs: dict[int, list[JobLog]]) -> list[Line]:
    lines: dict[str, Line] = {}
    for job in jobs:
        line = lines.setdefault(job.slug, Line(slug=job.slug))
        line.jobs += 1
        line.succeeded += job.status == Job.Status.SUCCESSFUL
        line.failed += job.has_error
        line.retried += job.total_tried > 1
        line.steps_run += sum(log.state == JobLog.State.SUCCEEDED for log in logs[job.pk])
        line.steps_restored += sum(len(done) for done, _ in attempts(logs[job.pk]))
    return [lines[slug] for slug in sorted(lines)]


def attempts(logs: list[JobLog]) -> list[tuple[list[JobLog], list[JobLog]]]:
    """Return, for each attempt, the steps that were done before it and those it ran."""
    found: list[tuple[list[JobLog], list[JobLog]]] = []
    for number in sorted({log.attempt for log in logs}):
        done = [log for log in logs if log.attempt < number and log.state == "succeeded"]
        found.append((done, [log for log in logs if log.attempt == number]))
    return found


def find_story(jobs: list[Job], logs: dict[int, list[JobLog]]) -> Story | None:
    """Pick a job that failed half-way and went on from there."""
    for job in jobs:
        told = attempts(logs[job.pk])
        if job.status == Job.Status.SUCCESSFUL and any(done for done, _ in told):
            return Story(job=job, attempts=[tell(done, ran) for done, ran in told])
    return None


def tell(done: list[JobLog], ran: list[JobLog]) -> list[str]:
    return [
        *(f"{log.task_slug}: not run again, its output was stored" for log in done),
        *(f"{log.task_slug}: {outcome(log)}" for log in ran),
    ]


def outcome(log: JobLog) -> str:
    if log.state == JobLog.State.SUCCEEDED:
        milliseconds = (log.completed_at - log.executed_at).total_seconds() * 1000
        return f"succeeded in {milliseconds:.0f} ms"
    error = log.error or {}
    return f"failed with {error.get('name')}: {error.get('message')}"
