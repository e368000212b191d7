"""What the tests of the admin share."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from django_jobs import task
from django_jobs.models import Job

LIST = "/admin/django_jobs/job/"
HOSTILE = "<script>alert('&')</script>"


def page_of(job: Job) -> str:
    return reverse("admin:django_jobs_job_change", args=[job.pk])


def declare(slug: str = "shown", **options: Any) -> Any:
    @task(slug=slug, **options)
    def shown(text: str = "", token: str = "", fail: bool = False) -> str:
        if fail:
            raise ValueError(f"No {text!r} here")
        return text

    return shown


def hidden_fields(page: str) -> dict[str, Any]:
    """Return what the form of the page would post, without the token against forgery."""
    fields: dict[str, Any] = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', page):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        assert name is not None
        assert value is not None
        if name[1] != "csrfmiddlewaretoken":
            fields.setdefault(name[1], []).append(value[1])
    return fields


def texts(page: str) -> list[str]:
    """Return the messages of the page."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', page, re.DOTALL)
    return re.findall(r"<li[^>]*>(.*?)</li>", found[1] if found else "", re.DOTALL)


def confirm(client: Client, page: Any) -> Any:
    """Press the button of a page that asks."""
    text = page.content.decode()
    action = re.search(r'<form method="post" action="([^"]*)"', text)
    url = action[1].replace("&amp;", "&") if action else page.wsgi_request.get_full_path()
    return client.post(url, hidden_fields(text), follow=True)
