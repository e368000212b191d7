"""The pages of the admin, for what must hold on each of them."""

from __future__ import annotations

from django.urls import reverse

from django_jobs.models import Job, JobSchedule, Queue, Worker


def every_page(made: dict[str, Job]) -> dict[str, str]:
    """Return the address of each page by its name."""
    jobs = reverse("admin:django_jobs_job_changelist")
    lists = {
        "jobs": jobs,
        "failed jobs": f"{jobs}?status=failed",
        "queues": reverse("admin:django_jobs_queue_changelist"),
        "workers": reverse("admin:django_jobs_worker_changelist"),
        "schedules": reverse("admin:django_jobs_jobschedule_changelist"),
    }
    single = {
        "overview": reverse("admin:django_jobs_overview"),
        "queue": _page_of(Queue.objects.all()[0]),
        "worker": _page_of(Worker.objects.all()[0]),
        "schedule": _page_of(JobSchedule.objects.all()[0]),
        "failures": reverse("admin:django_jobs_job_failures"),
        "choice of a task": reverse("admin:django_jobs_job_add"),
        "new job": reverse("admin:django_jobs_job_add") + "?task=greet",
        "job again": reverse("admin:django_jobs_job_again", args=[made["successful"].pk]),
        "retry from a step": reverse(
            "admin:django_jobs_job_retry_from",
            args=[made["workflow"].pk, made["workflow"].task_statuses.all()[0].pk],
        ),
        "question for many": reverse("admin:django_jobs_job_verb_many", args=["retry"]),
        "new schedule": reverse("admin:django_jobs_jobschedule_add"),
        "new schedule of a task": reverse("admin:django_jobs_jobschedule_add") + "?task=greet",
        "question": reverse("admin:django_jobs_job_verb", args=[made["failed"].pk, "retry"]),
    }
    of_jobs = {f"{state} job": _page_of(job) for state, job in made.items()}
    return lists | single | of_jobs


def _page_of(row: Job | JobSchedule | Queue | Worker) -> str:
    return reverse(f"admin:django_jobs_{row._meta.model_name}_change", args=[row.pk])
