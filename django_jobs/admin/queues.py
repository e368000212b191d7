"""Queues: which are paused, and by whom."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.base import ReadOnly, badge, jobs_url
from django_jobs.models import Queue, database_alias
from django_jobs.queue import operate


def may_change_queues(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("django_jobs.change_queue"))


def pause(admin_of: admin.ModelAdmin[Any], request: HttpRequest, name: str) -> bool:
    """Pause the queue for the user; return False, and say so, where it was paused already."""
    by = request.user.get_username()[:255]
    if not operate.pause_queue(name, by=by, using=database_alias()):
        admin_of.message_user(
            request, gettext("The queue %s was paused already.") % name, messages.WARNING
        )
        return False
    _note(admin_of, request, name, gettext("Paused."))
    admin_of.message_user(
        request,
        gettext("The queue %s is paused: no worker takes jobs from it.") % name,
        messages.SUCCESS,
    )
    return True


def resume(admin_of: admin.ModelAdmin[Any], request: HttpRequest, name: str) -> bool:
    """Resume the queue; return False, and say so, where it was not paused."""
    if not operate.resume_queue(name, using=database_alias()):
        admin_of.message_user(
            request, gettext("The queue %s was not paused.") % name, messages.WARNING
        )
        return False
    _note(admin_of, request, name, gettext("Resumed."))
    admin_of.message_user(request, gettext("The queue %s is resumed.") % name, messages.SUCCESS)
    return True


def _note(admin_of: admin.ModelAdmin[Any], request: HttpRequest, name: str, what: str) -> None:
    """Leave an entry in the admin's log."""
    queue = Queue.objects.using(database_alias()).filter(name=name).first()
    if queue is not None:
        admin_of.log_change(request, queue, what)


@admin.register(Queue)
class QueueAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    class Media:
        css = {"all": ["django_jobs/jobs.css"]}

    list_display = ("name", "state", "paused_at", "paused_by", "jobs")
    list_filter = ("paused",)
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("pause", "resume")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return may_change_queues(request)

    @admin.display(description=_("state"), ordering="paused")
    def state(self, queue: Queue) -> SafeString:
        return badge(_("paused"), "warning") if queue.paused else badge(_("open"), "good")

    @admin.display(description=_("jobs"))
    def jobs(self, queue: Queue) -> SafeString:
        return format_html('<a href="{}">{}</a>', jobs_url(queue=queue.name), _("Show its jobs"))

    @admin.action(description=_("Pause selected queues"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        for queue in queryset:
            pause(self, request, queue.name)

    @admin.action(description=_("Resume selected queues"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        for queue in queryset:
            resume(self, request, queue.name)
