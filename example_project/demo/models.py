from __future__ import annotations

from django.db import models

from django_jobs.models import Job, JobQuerySet


class DemoRun(models.Model):
    """The jobs that one `manage.py demo` has queued: a range of ids, all of one transaction."""

    first_job = models.PositiveBigIntegerField()
    last_job = models.PositiveBigIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"demo run {self.pk}"

    def jobs(self) -> JobQuerySet:
        return Job.objects.filter(pk__range=(self.first_job, self.last_job))

    def unfinished_jobs(self) -> JobQuerySet:
        final = [Job.Status.SUCCESSFUL, Job.Status.FAILED, Job.Status.CANCELLED]
        return self.jobs().exclude(status__in=final)
