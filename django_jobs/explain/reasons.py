"""From a job and the facts around it to a state and the sentences that explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobs import conf
from django_jobs.explain.facts import MOST_AHEAD, Facts
from django_jobs.explain.states import Explanation, State
from django_jobs.explain.words import capped, moment, span
from django_jobs.models import Gate, Job, JobStatus
from django_jobs.queue.operate import CANCELLED_ERROR
from django_jobs.tasks import registry
from django_jobs.tasks.retry import Retry

LONGEST_ERROR = 200

Reason = Callable[[Job, Facts], Explanation | None]


def reason_for(job: Job, facts: Facts) -> Explanation:
    by_status: dict[str, Callable[[Job, Facts], Explanation]] = {
        JobStatus.RUNNING: _running,
        JobStatus.SUCCESSFUL: _successful,
        JobStatus.FAILED: _failed,
        JobStatus.CANCELLED: _cancelled,
    }
    return by_status.get(job.status, _not_running)(job, facts)


def _not_running(job: Job, facts: Facts) -> Explanation:
    """Name the state by the first obstacle, and say all of them."""
    obstacles: tuple[Reason, ...] = (
        _waits, _later, _paused, _unheard, _unknown, _held, _again, _behind,
    )  # fmt: skip
    found = [obstacle for reason in obstacles if (obstacle := reason(job, facts)) is not None]
    if not found:
        return Explanation(state=State.READY, since=job.wait_until or job.created_at)
    return replace(found[0], reason=" ".join(obstacle.reason for obstacle in found))


def _is_later(job: Job, facts: Facts) -> bool:
    return job.wait_until is not None and job.wait_until > facts.now


# What keeps a job from running.


def _waits(job: Job, facts: Facts) -> Explanation | None:
    if job.status != JobStatus.WAITING:
        return None
    if job.pk in facts.children:
        return _waits_for_children(facts.children[job.pk])
    if job.pk in facts.events:
        return _waits_for_event(job, facts)
    if not _is_later(job, facts):
        return None
    return Explanation(
        state=State.ASLEEP,
        reason=_("It sleeps until %(when)s, for another %(span)s.") % _until(job, facts),
        until=job.wait_until,
    )


def _waits_for_children(children: list[int]) -> Explanation:
    shown = ", ".join(map(str, children[:3]))
    text = ngettext(
        "It waits for the job %(shown)s.",
        "It waits for %(count)d jobs: %(shown)s.",
        len(children),
    )
    return Explanation(
        state=State.AWAITING_CHILDREN,
        reason=text % {"count": len(children), "shown": shown + (" …" if children[3:] else "")},
        other=children[0],
    )


def _waits_for_event(job: Job, facts: Facts) -> Explanation:
    event = facts.events[job.pk][0]
    until = facts.timeouts.get((job.pk, event))
    if until is None:
        reason = _("It waits for the event “%(event)s”.") % {"event": event}
    else:
        text = _("It waits for the event “%(event)s”, until %(when)s.")
        reason = text % {"event": event, "when": moment(until, facts.now)}
    return Explanation(state=State.AWAITING_EVENT, reason=reason, until=until)


def _later(job: Job, facts: Facts) -> Explanation | None:
    if job.status != JobStatus.READY or not _is_later(job, facts):
        return None
    if not job.error:
        text = _("It is due at %(when)s, in %(span)s.")
        return Explanation(
            state=State.DELAYED, reason=text % _until(job, facts), until=job.wait_until
        )
    text = _("%(attempt)s is due at %(when)s, in %(span)s.")
    reason = text % {"attempt": _next_attempt(job), **_until(job, facts)}
    return Explanation(state=State.RETRYING, reason=reason, until=job.wait_until)


def _paused(job: Job, facts: Facts) -> Explanation | None:
    queue = facts.paused.get(job.queue)
    if queue is None:
        return None
    values = {"queue": job.queue, "by": queue.paused_by}
    text = _("The queue “%(queue)s” is paused.")
    if queue.paused_at is not None:
        values["when"] = moment(queue.paused_at, facts.now)
        text = _("The queue “%(queue)s” has been paused since %(when)s.")
        if queue.paused_by:
            text = _("The queue “%(queue)s” was paused by %(by)s at %(when)s.")
    return Explanation(state=State.PAUSED, reason=text % values, since=queue.paused_at)


def _unheard(job: Job, facts: Facts) -> Explanation | None:
    if facts.is_heard(job.queue):
        return None
    if facts.alive:
        text = _("No worker listens to the queue “%(queue)s”.")
    else:
        text = _("No worker is running.")
    if conf.get().AUTORUN or conf.get().CRON_SECRET:
        text = f"{text} {_('It has to wait for a pass of the web process or of the URL.')}"
    return Explanation(state=State.NO_WORKER, reason=text % {"queue": job.queue})


def _unknown(job: Job, facts: Facts) -> Explanation | None:
    if registry.find(job.slug) is not None:
        return None
    text = _("No task or workflow “%(slug)s” is known here. A worker that knows none fails it.")
    return Explanation(state=State.UNKNOWN, reason=text % {"slug": job.slug})


def _held(job: Job, facts: Facts) -> Explanation | None:
    if job.concurrency_limit is None or _is_later(job, facts):
        return None
    key = str(job.concurrency_key)
    count, first = facts.holders.get(key, (0, None))
    if count < job.concurrency_limit:
        if job.gate != Gate.HELD:
            return None
        text = _("It waits for its key “%(key)s”: others are before it.")
    elif count == 1:
        text = _("It waits for its key “%(key)s”, which the job %(holder)s holds.")
    else:
        text = _("It waits for its key “%(key)s”, which %(count)s jobs hold, %(holder)s first.")
    reason = text % {"key": key, "holder": first, "count": count}
    return Explanation(state=State.HELD, reason=reason, other=first)


def _again(job: Job, facts: Facts) -> Explanation | None:
    if not job.error or _is_later(job, facts):
        return None
    reason = _("%(attempt)s is due.") % {"attempt": _next_attempt(job)}
    return Explanation(state=State.RETRYING, reason=reason)


def _behind(job: Job, facts: Facts) -> Explanation | None:
    ahead = facts.ahead.get(job.pk)
    if ahead is None:
        return None
    if ahead == 0:
        reason = _("It is the next of its queue.")
    else:
        text = ngettext(
            "%(count)s job is ahead of it in its queue.",
            "%(count)s jobs are ahead of it in its queue.",
            ahead,
        )
        reason = text % {"count": capped(ahead, MOST_AHEAD)}
    return Explanation(state=State.READY, reason=reason, since=job.wait_until or job.created_at)


# Jobs that run, and those that have ended.


def _running(job: Job, facts: Facts) -> Explanation:
    if job.processing_until is not None and job.processing_until <= facts.now:
        return _lease_is_over(job, facts)
    worker = facts.workers.get(job.worker_id or 0)
    started = job.started_at or facts.now
    values = {
        "when": moment(started, facts.now), "span": span(facts.now - started), "worker": worker,
    }  # fmt: skip
    if worker is None and job.worker_id is not None:
        text = _("Its worker is gone. It is taken over when its lease is over, in %(span)s.")
        left = span((job.processing_until or facts.now) - facts.now)
        return Explanation(state=State.STUCK, reason=text % {"span": left}, since=started)
    text = _("It has been running since %(when)s, for %(span)s.")
    if worker is not None:
        text = _("It has been running since %(when)s, for %(span)s, on %(worker)s.")
    return Explanation(state=State.RUNNING, reason=text % values, since=started)


def _lease_is_over(job: Job, facts: Facts) -> Explanation:
    since = job.processing_until or facts.now
    text = _("Its lease has been over for %(span)s; the next worker to look takes it over.")
    if not facts.alive:
        text = _("Its lease has been over for %(span)s, and no worker is there to take it over.")
    return Explanation(
        state=State.STUCK, reason=text % {"span": span(facts.now - since)}, since=since
    )


def _successful(job: Job, facts: Facts) -> Explanation:
    return Explanation(state=State.SUCCESSFUL, since=job.completed_at)


def _failed(job: Job, facts: Facts) -> Explanation:
    return Explanation(state=State.FAILED, reason=_error(job), since=job.completed_at)


def _cancelled(job: Job, facts: Facts) -> Explanation:
    if job.processing_token is not None and (job.processing_until or facts.now) > facts.now:
        return Explanation(
            state=State.CANCELLING,
            reason=_("It is cancelled, but its handler has not left yet."),
            since=job.completed_at,
        )
    said = (job.error or {}).get("message")
    reason = "" if said == CANCELLED_ERROR["message"] else _error(job)
    return Explanation(state=State.CANCELLED, reason=reason, since=job.completed_at)


def _error(job: Job) -> str:
    """Return the first line of the error, cut where it is long."""
    error = job.error or {}
    text = f"{error.get('name', '')}: {error.get('message', '')}".strip(": ")
    return Truncator(text.partition("\n")[0]).chars(LONGEST_ERROR)


def _next_attempt(job: Job) -> str:
    """Return which attempt comes next, and of how many where that is known."""
    values = {"number": job.total_tried + 1, "most": _most_attempts(job)}
    if values["most"] is None:
        return _("Attempt %(number)s") % values
    return _("Attempt %(number)s of %(most)s") % values


def _most_attempts(job: Job) -> int | None:
    """Return how often the job may be tried; a workflow may leave that to its tasks."""
    if job.retries:
        return Retry.from_json(job.retries).attempts + 1
    declaration = registry.find(job.slug)
    if declaration is None or declaration.retries is None:
        return None
    return declaration.retries.attempts + 1


def _until(job: Job, facts: Facts) -> dict[str, Any]:
    until = job.wait_until or facts.now
    return {"when": moment(until, facts.now), "span": span(until - facts.now)}
