"""Ask before something is done to jobs, do it in batches, and say what became of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from django_jobs.admin.base import number_of
from django_jobs.admin.verbs import UNDONE, VERBS, Outcome, Verb
from django_jobs.explain.words import capped
from django_jobs.models import Job, database_alias
from django_jobs.queue.operate import BATCH

# How far is counted how many there are.
MOST = 10_000
# How long a request may work on jobs, in seconds.
BUDGET = 15.0
# How many rows of what was not done are listed.
LISTED = 100

asks_and_does = method_decorator(require_http_methods(["GET", "HEAD", "POST"]))


def count(jobs: QuerySet[Job]) -> int:
    """Count the jobs, to one more than MOST at the most."""
    return jobs.order_by()[: MOST + 1].count()


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far the work on many jobs has come, from one request to the next.

    Those added after the question are left out: `newest` is the last that was asked about.
    """

    jobs: QuerySet[Job]
    newest: int
    after: int = 0
    tally: Counter[Outcome] = field(default_factory=Counter)
    # Of this request only.
    left_undone: dict[Job, Outcome] = field(default_factory=dict)

    @classmethod
    def begin(cls, jobs: QuerySet[Job]) -> Progress:
        newest = jobs.order_by("-pk").values_list("pk", flat=True).first()
        return cls(jobs=jobs, newest=newest or 0)

    @classmethod
    def resume(cls, jobs: QuerySet[Job], data: Any) -> Progress:
        """Go on where the form says; what is no number there is 0."""
        tally = Counter({outcome: number_of(data.get(f"tally_{outcome}")) for outcome in Outcome})
        return cls(
            jobs=jobs,
            newest=number_of(data.get("newest")),
            after=number_of(data.get("after")),
            tally=tally,
        )

    @property
    def rest(self) -> QuerySet[Job]:
        return self.jobs.filter(pk__gt=self.after, pk__lte=self.newest)

    @property
    def hidden(self) -> Iterator[tuple[str, int]]:
        """Yield the fields by which the next request goes on."""
        yield "newest", self.newest
        yield "after", self.after
        for outcome in Outcome:
            yield f"tally_{outcome}", self.tally[outcome]

    def work(self, verb: Verb, request: HttpRequest, *, using: str) -> bool:
        """Work until the time is up; return whether all is done."""
        until = time.monotonic() + BUDGET
        while batch := list(self.rest.order_by("pk").only("slug")[:BATCH]):
            fate = verb.apply(batch, using=using)
            verb.log(request, [job for job in batch if fate[job.pk] is Outcome.DONE])
            self.tally.update(fate.values())
            self._remember(batch, fate)
            self.after = batch[-1].pk
            if time.monotonic() > until:
                return not self.rest.exists()
        return True

    def _remember(self, batch: list[Job], fate: dict[int, Outcome]) -> None:
        undone = [job for job in batch if fate[job.pk] is not Outcome.DONE]
        for job in undone[: LISTED - len(self.left_undone)]:
            self.left_undone[job] = fate[job.pk]


class JobActions(admin.ModelAdmin):  # type: ignore[type-arg]
    """The pages that ask, for one job and for many."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("do/<slug:verb>/", view(self.many_view), name="django_jobs_job_verb_many"),
            path(
                "<path:object_id>/do/<slug:verb>/", view(self.one_view),
                name="django_jobs_job_verb",
            ),
        ]  # fmt: skip
        return own + super().get_urls()

    @asks_and_does
    def one_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Ask about one job, and do it."""
        asked = self._verb(verb, request)
        job = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404(f"There is no job {object_id!r}.")
        if request.method != "POST":
            return self._question(request, asked, 1, job=job, back=self._page_url(job))
        fate = asked.apply([job], using=database_alias())
        done = [job] if fate[job.pk] is Outcome.DONE else []
        asked.log(request, done)
        self._say(request, asked, Counter(fate.values()))
        if done and asked.flag == DELETION:
            return HttpResponseRedirect(self._list_url())
        return HttpResponseRedirect(self._page_url(job))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Delete in the same way from wherever Django's own pages link to."""
        return self.one_view(request, object_id, "delete")

    @asks_and_does
    def many_view(self, request: HttpRequest, verb: str) -> HttpResponse:
        """Ask about the jobs that match the filters of the URL, or are selected; and do it."""
        asked = self._verb(verb, request)
        try:
            jobs = self._asked_for(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{self._list_url()}?{ERROR_FLAG}=1")
        if request.method == "POST" and "newest" in request.POST:
            return self._work(request, asked, Progress.resume(jobs, request.POST))
        return self.ask(request, asked, jobs)

    def ask(self, request: HttpRequest, verb: Verb, jobs: QuerySet[Job]) -> HttpResponse:
        """Ask whether to do it to all of these."""
        return self._question(
            request, verb, count(jobs), progress=Progress.begin(jobs),
            target=self.many_url(request, verb),
        )  # fmt: skip

    def _work(self, request: HttpRequest, verb: Verb, progress: Progress) -> HttpResponse:
        if not progress.work(verb, request, using=database_alias()):
            done = verb.done % {"count": progress.tally[Outcome.DONE]}
            return self._question(
                request, verb, count(progress.rest), progress=progress, so_far=done
            )
        self._say(request, verb, progress.tally)
        if not progress.left_undone:
            return HttpResponseRedirect(self._list_url(request))
        return self._page(
            request, verb, "result", progress=progress, undone=progress.left_undone.items()
        )

    def _asked_for(self, request: HttpRequest) -> QuerySet[Job]:
        if "job" in request.POST:
            selected = {number_of(pk) for pk in request.POST.getlist("job")}
            return self.get_queryset(request).filter(pk__in=selected)
        found: QuerySet[Job] = self.get_changelist_instance(request).queryset
        return found

    def _verb(self, name: str, request: HttpRequest) -> Verb:
        verb = VERBS.get(name)
        if verb is None:
            raise Http404(f"There is no action {name!r}.")
        if not (self.has_view_permission(request) and verb.is_allowed(request)):
            raise PermissionDenied
        return verb

    def _question(
        self, request: HttpRequest, verb: Verb, number: int, **context: Any
    ) -> HttpResponse:
        question = verb.question % {"count": number, "shown": capped(number, MOST)}
        return self._page(
            request, verb, "confirm", question=question, number=number,
            selected=request.POST.getlist("job") or request.POST.getlist(ACTION_CHECKBOX_NAME),
            **context,
        )  # fmt: skip

    def _page(
        self, request: HttpRequest, verb: Verb, template: str, **context: Any
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        given = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": verb.label,
            "verb": verb,
            "back": self._list_url(request),
            **context,
        }
        return TemplateResponse(request, f"admin/django_jobs/job/{template}.html", given)

    def _say(self, request: HttpRequest, verb: Verb, tally: Counter[Outcome]) -> None:
        done = tally[Outcome.DONE]
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, verb.done % {"count": done}, level)
        for outcome in (Outcome.UNFIT, Outcome.DUPLICATE, Outcome.GONE):
            if tally[outcome]:
                text = UNDONE[outcome] % {"count": tally[outcome]}
                self.message_user(request, text, messages.WARNING)

    def many_url(self, request: HttpRequest, verb: Verb) -> str:
        url = reverse("admin:django_jobs_job_verb_many", args=[verb.name])
        return _with_filters(url, request)

    def _page_url(self, job: Job) -> str:
        return reverse("admin:django_jobs_job_change", args=[job.pk])

    def _list_url(self, request: HttpRequest | None = None) -> str:
        return _with_filters(reverse("admin:django_jobs_job_changelist"), request)


def _with_filters(url: str, request: HttpRequest | None) -> str:
    filters = request.GET.urlencode() if request is not None else ""
    return f"{url}?{filters}" if filters else url
