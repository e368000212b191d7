"""Retry from a step: what it forgets is asked first."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from django_jobs import access
from django_jobs.admin.page import JobPage
from django_jobs.exceptions import DuplicateJobError
from django_jobs.models import UNFINISHED, Job, TaskStatus, database_alias
from django_jobs.queue import operate
from django_jobs.queue.steps import enqueued_by, steps_from


class RetryFrom(JobPage):
    def get_urls(self) -> list[URLPattern]:
        retry_from = path(
            "<path:object_id>/retry-from/<int:step_id>/",
            self.admin_site.admin_view(self.retry_from_view), name="django_jobs_job_retry_from",
        )  # fmt: skip
        return [retry_from, *super().get_urls()]

    def retry_from_view(self, request: HttpRequest, object_id: str, step_id: int) -> HttpResponse:
        job = self.find(request, object_id)
        if not access.is_allowed("retry", request):
            raise PermissionDenied
        steps = steps_from(job.pk, step_id, using=database_alias()) if job.has_error else []
        chosen = next((step for step in steps if step.pk == step_id), None)
        if chosen is None:
            self.message_user(request, _refusal(job), messages.WARNING)
        elif request.method == "POST":
            self._retry_from(request, job, chosen)
        else:
            return self._ask(request, job, chosen, steps)
        return redirect("admin:django_jobs_job_change", job.pk)

    def _retry_from(self, request: HttpRequest, job: Job, step: TaskStatus) -> None:
        try:
            took_place = operate.retry_from(job.pk, step.pk, using=database_alias())
        except DuplicateJobError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        if not took_place:
            self.message_user(request, _refusal(job), messages.WARNING)
            return
        done = _("Retried from the step “%(step)s”.") % {"step": step.task_id}
        self.log_change(request, job, done)
        self.message_user(request, done)

    def _ask(
        self, request: HttpRequest, job: Job, chosen: TaskStatus, steps: list[TaskStatus]
    ) -> HttpResponse:
        children = Job.objects.filter(pk__in=enqueued_by(steps), status__in=UNFINISHED)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Retry from the step “%(step)s”?") % {"step": chosen.task_id},
            "opts": self.opts, "job": job, "steps": steps, "children": children.count(),
        }  # fmt: skip
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/job/retry_from.html", context)


def _refusal(job: Job) -> str:
    text = _("Job %(number)s cannot be retried from this step any more.")
    return text % {"number": job.pk}
