"""The page that is left when the demo is over: it needs no server."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet
from django.template.loader import render_to_string

from demo.models import DemoRun
from demo.summary import Summary
from media_library.models import GalleryPage, MediaItem

IMAGES_SHOWN = 60


def write_report(run: DemoRun, summary: Summary) -> Path:
    path = Path(settings.VAR_DIR) / "report.html"
    context = {
        "run": run,
        "summary": summary,
        "images": list(images(run)[:IMAGES_SHOWN]),
        "image_count": images(run).count(),
        "galleries": GalleryPage.objects.all(),
        "media": os.path.relpath(settings.MEDIA_ROOT, path.parent),
        "mail": os.path.relpath(settings.MAIL_DIR, path.parent),
    }
    path.write_text(render_to_string("demo/report.html", context), encoding="utf-8")
    return path


def images(run: DemoRun) -> QuerySet[MediaItem]:
    synced = run.jobs().filter(slug="sync-media").values_list("input", flat=True)
    return MediaItem.objects.filter(pk__in=[given["media_id"] for given in synced])
