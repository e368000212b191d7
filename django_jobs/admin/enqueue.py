"""Jobs queued by hand: a task is chosen, and its input filled in; or that of a job, again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobs import access, jobs
from django_jobs.admin.formfields import datetime_input
from django_jobs.admin.inputs import InputForm, input_form
from django_jobs.admin.page import JobPage
from django_jobs.exceptions import InvalidInputError
from django_jobs.models import Job
from django_jobs.tasks import registry
from django_jobs.tasks.retry import Retry
from django_jobs.tasks.task import Declaration


class OptionsForm(forms.Form):
    """Where and when a job is to run."""

    prefix = "options"
    required_css_class = "required"
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), min_value=-100, max_value=100,
        help_text=gettext_lazy("From −100 to 100, higher first."),
    )  # fmt: skip
    wait_until = datetime_input(
        label=gettext_lazy("Not before"), required=False,
        help_text=gettext_lazy("Empty: at once."),
    )  # fmt: skip


class QueueByHand(JobPage):
    """Replaces the form that the admin has for new rows."""

    def get_urls(self) -> list[URLPattern]:
        again = path(
            "<path:object_id>/again/", self.admin_site.admin_view(self.again_view),
            name="django_jobs_job_again",
        )  # fmt: skip
        return [again, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.is_allowed("queue", request)

    def add_view(
        self, request: HttpRequest, form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        if not self.has_add_permission(request):
            raise PermissionDenied
        slug = request.GET.get("task", "")
        declaration = registry.find(slug) if slug else None
        if declaration is None:
            if slug:
                self.message_user(request, _unknown(slug), messages.ERROR)
            return self._choose(request)
        return self._fill_in(request, declaration, None)

    def again_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Queue a job like this one, with its input to be changed."""
        job = self.find(request, object_id)
        if not self.has_add_permission(request):
            raise PermissionDenied
        declaration = registry.find(job.slug)
        if declaration is None:
            self.message_user(request, _unknown(job.slug), messages.ERROR)
            return redirect("admin:django_jobs_job_change", job.pk)
        return self._fill_in(request, declaration, job)

    def _choose(self, request: HttpRequest) -> HttpResponse:
        return self._render(
            request, "choose", title=_("Queue a job"), declarations=registry.every()
        )

    def _fill_in(
        self, request: HttpRequest, declaration: Declaration[Any, Any], model: Job | None
    ) -> HttpResponse:
        """Ask for the input and the options; `model` is the job whose are shown first."""
        like = model or declaration
        data = request.POST if request.method == "POST" else None
        initial = {"queue": like.queue, "priority": like.priority}
        options = OptionsForm(data, initial=initial)
        form = input_form(declaration, model.input if model else None)(data)
        if data is not None and all([form.is_valid(), options.is_valid()]):
            job = _enqueue(request, declaration, form, options, model)
            if job is not None:
                return self._queued(request, job)
        return self._render(
            request, "enqueue", title=_("Queue “%(label)s”") % {"label": declaration.label},
            declaration=declaration, form=form, options=options, model=model,
        )  # fmt: skip

    def _queued(self, request: HttpRequest, job: Job) -> HttpResponse:
        if job.was_duplicate:
            text = _("Job %(number)s is unfinished and has the same unique key: none was added.")
            self.message_user(request, text % {"number": job.pk}, messages.WARNING)
        else:
            self.log_addition(request, job, [{"added": {}}])
            self.message_user(request, _("Job %(number)s was queued.") % {"number": job.pk})
        if not self.has_view_permission(request):
            return redirect("admin:index")
        return redirect("admin:django_jobs_job_change", job.pk)

    def _render(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/django_jobs/job/{name}.html", context)


def _unknown(slug: str) -> str:
    return _("No task or workflow “%(slug)s” is known here.") % {"slug": slug}


def _enqueue(
    request: HttpRequest, declaration: Declaration[Any, Any], form: InputForm,
    options: OptionsForm, model: Job | None,
) -> Job | None:  # fmt: skip
    """Add the job; where it is refused, say so in the form and return None."""
    try:
        return jobs.enqueue(
            declaration, form.given, request=request, **options.cleaned_data, **_kept_of(model)
        )
    except InvalidInputError as error:
        form.add_error(None, str(error))
    except ValueError as error:
        options.add_error(None, str(error))
    return None


def _kept_of(model: Job | None) -> dict[str, Any]:
    """Return what a job like `model` has besides its input; no schedule enqueued this one."""
    if model is None:
        return {}
    meta = {name: value for name, value in model.meta.items() if name != "scheduled"}
    return {"meta": meta, "retries": Retry.from_json(model.retries) if model.retries else None}
