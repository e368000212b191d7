"""Numbers and times in the templates of the admin's pages."""

from __future__ import annotations

from typing import Any

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
def count_cell(row: QueueNumbers, state: str, **lookups: Any) -> SafeString:
    """Return how many jobs of the queue are in a state, as a cell that leads to them."""
    count = row.backlog.counts[state]
    if not count:
        return format_html('<td class="jobs-number jobs-none">{}</td>', 0)
    url = base.jobs_url(queue=row.name, **lookups)
    return format_html('<td class="jobs-number"><a href="{}">{}</a></td>', url, count)
