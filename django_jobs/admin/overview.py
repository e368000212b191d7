"""What the queues and workers are doing, on one page that keeps itself up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from django_jobs.admin.base import ReadOnly
from django_jobs.admin.charts import chart
from django_jobs.admin.numbers import Numbers, look
from django_jobs.admin.queues import may_change_queues, pause, resume
from django_jobs.explain import stuck
from django_jobs.models import Overview, database_alias
from django_jobs.tasks.bounds import check_queue

VERBS: dict[str, Callable[..., bool]] = {"pause": pause, "resume": resume}


@admin.register(Overview)
class OverviewAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """One page in place of a list; the model only gives it a place in the menu."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("django_jobs.view_job"))

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.overview)
        verb = self.admin_site.admin_view(require_POST(self.operate))
        return [
            # By this name Django's own templates link to it.
            path("", page, name="django_jobs_overview_changelist"),
            path("", page, name="django_jobs_overview"),
            path("<slug:verb>-queue/", verb, name="django_jobs_overview_queue"),
        ]

    def overview(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        numbers = look(using=database_alias())
        queue = request.GET.get("queue")
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Overview of the jobs"),
            "opts": self.opts,
            "numbers": numbers,
            "queue": queue,
            "charts": [
                (_("Last hour"), _("per minute"), "H:i", _chart(numbers.hour, queue)),
                (_("Last day"), _("per hour"), "D H:i", _chart(numbers.day, queue)),
            ],
            "stuck": stuck.find(using=database_alias()),
            "warnings": list(_warnings(numbers)),
            "may_change_queues": may_change_queues(request),
            "may_view_workers": request.user.has_perm("django_jobs.view_worker"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/overview/page.html", context)

    def operate(self, request: HttpRequest, verb: str) -> HttpResponse:
        """Pause or resume a queue, and come back."""
        name = request.POST.get("queue", "")
        if verb not in VERBS:
            raise Http404
        if not may_change_queues(request):
            raise PermissionDenied
        try:
            check_queue(name)
        except ValueError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            VERBS[verb](self, request, name)
        here = reverse("admin:django_jobs_overview", current_app=self.admin_site.name)
        return HttpResponseRedirect(here)


def _chart(history: Any, queue: str | None) -> Any:
    return chart(history.of(queue), history.sum(queue))


def _warnings(numbers: Numbers) -> Iterator[str]:
    """Yield what somebody should do something about."""
    ignored = [queue.name for queue in numbers.queues if queue.is_ignored]
    if not numbers.alive:
        yield gettext("No worker is alive. Jobs run only where jobs.run() or the URL is called.")
    elif ignored:
        text = ngettext(
            "No living worker takes jobs from the queue %(queues)s.",
            "No living worker takes jobs from the queues %(queues)s.",
            len(ignored),
        )
        yield text % {"queues": ", ".join(ignored)}
