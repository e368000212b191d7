"""Schedules: those that the code declares, and those that admins make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from django_jobs import access
from django_jobs.admin.base import badge, json_field
from django_jobs.admin.cron import in_words
from django_jobs.admin.schedule_form import PREVIEW, ScheduleForm
from django_jobs.exceptions import InvalidInputError, UnknownTaskError
from django_jobs.explain.stuck import LATE
from django_jobs.fields import DatabaseNow
from django_jobs.models import Job, JobSchedule, JobStatus, ScheduleRun, database_alias
from django_jobs.tasks import registry
from django_jobs.worker import schedules

TONES = {JobStatus.SUCCESSFUL: "good", JobStatus.FAILED: "bad", JobStatus.CANCELLED: "warning"}


class ScheduleVerbs(admin.ModelAdmin):  # type: ignore[type-arg]
    """Pause, resume and run now: as actions of the list, and as buttons of the page."""

    actions = ("run_now", "pause", "resume")

    def has_run_permission(self, request: HttpRequest) -> bool:
        return access.is_allowed("run", request)

    @admin.action(description=_("Run now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[JobSchedule]) -> None:
        for schedule in queryset:
            try:
                job = schedules.run_now(schedule, using=database_alias())
            except (InvalidInputError, UnknownTaskError) as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                url = reverse("admin:django_jobs_job_change", args=[job.pk])
                link = format_html('<a href="{}">{}</a>', url, job)
                self.message_user(request, format_html(gettext("{} was enqueued."), link))
                self.log_change(request, schedule, gettext("Run now as job %d.") % job.pk)

    @admin.action(description=_("Pause selected schedules"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[JobSchedule]) -> None:
        count = self._each(request, queryset, schedules.pause, gettext("Paused."))
        text = ngettext("%(count)d schedule is paused.", "%(count)d schedules are paused.", count)
        self._tell(request, text, count)

    @admin.action(description=_("Resume selected schedules"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[JobSchedule]) -> None:
        """Undo the pause; the times that it left out are not made up for."""
        count = self._each(request, queryset, schedules.resume, gettext("Resumed."))
        text = ngettext("%(count)d schedule is resumed.", "%(count)d schedules are resumed.", count)
        self._tell(request, text, count)

    def _tell(self, request: HttpRequest, text: str, count: int) -> None:
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % {"count": count}, level)

    def _each(
        self, request: HttpRequest, queryset: QuerySet[JobSchedule],
        verb: Callable[[QuerySet[JobSchedule]], int], note: str,
    ) -> int:  # fmt: skip
        done = 0
        for schedule in queryset:
            if verb(JobSchedule.objects.using(database_alias()).filter(pk=schedule.pk)):
                done += 1
                self.log_change(request, schedule, note)
        return done

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.do))
        name = "django_jobs_jobschedule_verb"
        return [path("<int:pk>/do/<slug:verb>/", view, name=name), *super().get_urls()]

    def do(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Do to one schedule what a button of its page says."""
        if verb not in self.actions:
            raise Http404
        allowed = self.has_run_permission if verb == "run_now" else self.has_change_permission
        if not allowed(request):
            raise PermissionDenied
        getattr(self, verb)(request, self.get_queryset(request).filter(pk=pk))
        page = reverse("admin:django_jobs_jobschedule_change", args=[pk])
        return HttpResponseRedirect(page)


@admin.register(JobSchedule)
class JobScheduleAdmin(ScheduleVerbs):
    class Media:
        css = {"all": ["django_jobs/jobs.css"]}

    form = ScheduleForm
    change_form_template = "admin/django_jobs/jobschedule/change_form.html"
    list_display = ("task", "when", "queue", "state", "next_run_at", "last_outcome", "origin")
    search_fields = ("slug", "cron")
    ordering = ("slug", "number", "id")
    shown_input = json_field("input", _("input"), secret=True)

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobSchedule]:
        runs = ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-due_at")
        job = Job.objects.filter(pk=OuterRef("last_job"))
        rows: QuerySet[JobSchedule] = super().get_queryset(request)
        return rows.annotate(
            now=DatabaseNow(),
            last_job=Subquery(runs.values("job_id")[:1]),
            last_reason=Subquery(runs.values("reason")[:1]),
            last_status=Subquery(job.values("status")[:1]),
        )

    @admin.display(description=_("task or workflow"), ordering="slug")
    def task(self, schedule: JobSchedule) -> SafeString | str:
        declaration = registry.find(schedule.slug)
        if declaration is None or str(declaration.label) == schedule.slug:
            return str(schedule.slug)
        return format_html("{} <small>{}</small>", declaration.label, schedule.slug)

    @admin.display(description=_("when"), ordering="cron")
    def when(self, schedule: JobSchedule) -> SafeString:
        words, zone = in_words(schedule.cron), schedule.timezone
        return format_html("<code>{}</code><br>{} <small>{}</small>", schedule.cron, words, zone)

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, schedule: Any) -> SafeString:
        if registry.find(schedule.slug) is None:
            return badge(_("the task is gone"), "bad")
        if not schedule.enabled:
            return badge(_("paused"), "warning")
        if schedule.next_run_at is not None and schedule.next_run_at < schedule.now - LATE:
            return badge(_("overdue"), "bad")
        return badge(_("on"), "good")

    @admin.display(description=_("last outcome"))
    def last_outcome(self, schedule: Any) -> str:
        """Return the job of the last due time and what became of it, or why there is none."""
        if schedule.last_job is None:
            return str(schedule.last_reason or "–")
        if schedule.last_status is None:
            return str(gettext("job %d, which was deleted") % schedule.last_job)
        url = reverse("admin:django_jobs_job_change", args=[schedule.last_job])
        status = JobStatus(schedule.last_status)
        state = badge(status.label, TONES.get(status, "idle"))
        return format_html('<a href="{}">{}</a> {}', url, f"#{schedule.last_job}", state)

    @admin.display(description=_("origin"))
    def origin(self, schedule: JobSchedule) -> str:
        """Return which of the declaration and the admin is in force."""
        if schedule.is_overridden:
            return gettext("changed here; declared: %s") % schedule.declared_cron
        return gettext("declared") if schedule.is_declared else gettext("made here")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        form = ["slug", "cron", "queue", "timezone", "enabled"]
        if obj is None:
            return form
        # The input is asked for in a form of its own where it can be changed.
        asked = not obj.is_declared and registry.find(obj.slug) is not None
        may_ask = asked and self.has_change_permission(request, obj)
        shown = [] if may_ask else ["shown_input"]
        return [*form, *shown, "origin", "state", "last_run_at", "next_run_at", "last_outcome"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        always = [
            "slug", "shown_input", "origin", "state", "last_run_at", "next_run_at", "last_outcome",
        ]  # fmt: skip
        return [*always, "queue", "timezone"] if obj.is_declared else always

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"slug": request.GET.get("task", "")}

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """Ask for the task first: what else is asked for depends on it."""
        declaration = registry.find(request.POST.get("slug") or request.GET.get("task") or "")
        if declaration is None and request.method == "GET":
            return self._choose(request)
        context = {"declaration": declaration, **(extra_context or {})}
        return super().add_view(request, form_url, context)

    def _choose(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Add a schedule"),
            "opts": self.opts,
            "declarations": registry.every(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/job/choose.html", context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kw: Any) -> Any:
        obj = kw.get("obj")
        context["preview"] = PREVIEW
        context["may_run"] = obj is not None and self.has_run_permission(request)
        context["may_pause"] = obj is not None and self.has_change_permission(request, obj)
        return super().render_change_form(request, context, *args, **kw)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was changed only; a new time, or the end of a pause, counts from now."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        columns = form.changed_columns
        if {"cron", "timezone", "enabled"} & set(columns):
            obj.next_run_at = None
            columns.append("next_run_at")
        if columns:
            obj.save(update_fields=columns)
