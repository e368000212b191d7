"""`on_success` and `on_fail`: called after the record, and unable to hurt it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_jobs.tasks.task import Declaration
    from django_jobs.worker.context import JobContext

logger = logging.getLogger("django_jobs.callbacks")


def on_success(declaration: Declaration[Any, Any], context: JobContext) -> None:
    _call("on_success", declaration.on_success, declaration, context)


def on_fail(declaration: Declaration[Any, Any], context: JobContext) -> None:
    _call("on_fail", declaration.on_fail, declaration, context)


def _call(
    name: str,
    callback: Callable[[Any], Any] | None,
    declaration: Declaration[Any, Any],
    context: JobContext,
) -> None:
    if callback is None:
        return
    try:
        callback(context)
    except Exception:
        logger.exception(
            "The %s of %s raised, for job %s", name, declaration.slug, context.job.pk,
            extra={"job_id": context.job.pk},
        )  # fmt: skip
