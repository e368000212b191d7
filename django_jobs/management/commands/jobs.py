from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import localtime

from django_jobs import describe, jobs
from django_jobs.exceptions import DuplicateJobError
from django_jobs.explain import explain
from django_jobs.models import Job, JobStatus, database_alias
from django_jobs.queue import operate


class Command(BaseCommand):
    help = "Lists, shows, retries, cancels and hurries jobs; pauses and resumes queues."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="List the newest jobs.")
        listing.add_argument("--status", choices=JobStatus.values)
        listing.add_argument("--queue")
        listing.add_argument("--slug")
        listing.add_argument("--limit", type=int, default=20)
        verbs.add_parser("show", help="Show one job and its log.").add_argument("id", type=int)
        verbs.add_parser("stats", help="Tell what each queue has to do and did.")
        for verb in ("retry", "cancel", "run-now"):
            verbs.add_parser(verb).add_argument("id", type=int, nargs="+")
        for verb in ("pause", "resume"):
            verbs.add_parser(verb).add_argument("queue")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb'].replace('-', '_')}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        given = {name: options[name] for name in ("status", "queue", "slug") if options[name]}
        found = list(Job.objects.filter(**given).order_by("-id")[: max(options["limit"], 0)])
        explanations = explain(found, using=database_alias())
        for job in found:
            self.stdout.write(
                f"{job.pk:>8}  {explanations[job.pk].state.value:<17}  {job.queue:<12}  "
                f"{localtime(job.created_at):%Y-%m-%d %H:%M:%S}  {job.slug}"
            )

    def _show(self, options: dict[str, Any]) -> None:
        job = self._job(options["id"])
        for name, value in describe.facts(job):
            self.stdout.write(f"{name:<16} {value}")
        explanation = explain([job], using=database_alias())[job.pk]
        self.stdout.write(f"{'state':<16} {explanation.state.label}")
        if explanation.reason and not job.error:
            self.stdout.write(f"{'why':<16} {explanation.reason}")
        for entry in job.log:
            self.stdout.write(describe.line(entry))

    def _stats(self, options: dict[str, Any]) -> None:
        for line in describe.stats():
            self.stdout.write(line)

    def _retry(self, options: dict[str, Any]) -> None:
        for pk in options["id"]:
            try:
                retried = jobs.retry_by_id(self._job(pk).pk)
            except DuplicateJobError as error:
                raise CommandError(f"Job {pk}: {error}") from error
            done = "is ready again" if retried else "is neither failed nor cancelled"
            self.stdout.write(f"Job {pk} {done}.")

    def _cancel(self, options: dict[str, Any]) -> None:
        for pk in options["id"]:
            cancelled = jobs.cancel_by_id(self._job(pk).pk)
            self.stdout.write(f"Job {pk} {'is cancelled' if cancelled else 'was finished'}.")

    def _run_now(self, options: dict[str, Any]) -> None:
        for pk in options["id"]:
            hurried = operate.run_now_batch([self._job(pk).pk], using=database_alias())
            self.stdout.write(f"Job {pk} {'is next' if hurried else 'does not wait to run'}.")

    def _pause(self, options: dict[str, Any]) -> None:
        paused = jobs.pause_queue(options["queue"])
        self.stdout.write(f"{options['queue']} {'is paused' if paused else 'was paused already'}.")

    def _resume(self, options: dict[str, Any]) -> None:
        resumed = jobs.resume_queue(options["queue"])
        self.stdout.write(f"{options['queue']} {'is resumed' if resumed else 'was not paused'}.")

    def _job(self, pk: int) -> Job:
        try:
            job: Job = Job.objects.get(pk=pk)
        except Job.DoesNotExist as error:
            raise CommandError(f"There is no job {pk}.") from error
        return job
