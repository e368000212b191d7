"""What the list says of each job."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.base import badge, duration, jobs_url
from django_jobs.explain import Explanation
from django_jobs.explain.words import span
from django_jobs.models import JobStatus
from django_jobs.tasks import registry


def _moment(text: str, when: datetime) -> SafeString:
    full = date_format(localtime(when), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', when.isoformat(), full, text)


class JobColumns:
    """Columns of the list; the explanation is put on the job by the page."""

    @admin.display(description=_("status"))
    def state(self, job: Any) -> SafeString:
        explanation: Explanation = job.explanation
        state = badge(explanation.state.label, explanation.state.tone)
        if not explanation.reason:
            return state
        return format_html('{} <span class="jobs-reason">{}</span>', state, explanation.reason)

    @admin.display(description=_("task"))
    def task(self, job: Any) -> SafeString | str:
        declaration = registry.find(job.slug)
        if declaration is None or str(declaration.label) == job.slug:
            return str(job.slug)
        slug = format_html('<span class="jobs-slug">{}</span>', job.slug)
        return format_html("{} {}", declaration.label, slug)

    @admin.display(description=_("key"), empty_value="-")
    def key(self, job: Any) -> SafeString | None:
        if not job.concurrency_key:
            return None
        url = jobs_url(key=job.concurrency_key)
        return format_html('<a href="{}">{}</a>', url, job.concurrency_key)

    @admin.display(description=_("due or ended"))
    def when(self, job: Any) -> SafeString:
        when = job.completed_at or job.wait_until or job.created_at
        left = when - timezone.now()
        if left > timedelta(0):
            return _moment(gettext("in %s") % span(left), when)
        text = gettext("ended %s ago") if job.completed_at else gettext("%s ago")
        return _moment(text % span(-left), when)

    @admin.display(description=_("run time"), empty_value="-")
    def run_time(self, job: Any) -> str | None:
        """Return how long the last attempt took, or has been taking."""
        if job.started_at is None:
            return None
        ended = timezone.now() if job.status == JobStatus.RUNNING else job.completed_at
        if ended is None or ended < job.started_at:
            return None
        return duration((ended - job.started_at).total_seconds())

    @admin.display(description=_("tries"))
    def tries(self, job: Any) -> int:
        return int(job.total_tried)
