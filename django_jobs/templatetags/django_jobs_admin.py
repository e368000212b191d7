"""Numbers and times in the templates of the admin's pages."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_jobs.admin import base
from django_jobs.admin.numbers import QueueNumbers
from django_jobs.explain import words

register = template.Library()

register.filter("duration", base.duration)
register.filter("span", words.span)
register.simple_tag(base.jobs_url, name="jobs_url")


@register.simple_tag
def count_of(row: QueueNumbers, state: str) -> SafeString:
    """Return how many jobs of the queue are in a state, as a link to them."""
    count = row.backlog.counts[state]
    if not count:
        return format_html('<span class="jobs-none">{}</span>', 0)
    url = base.jobs_url(queue=row.name, status=state)
    return format_html('<a href="{}">{}</a>', url, count)
