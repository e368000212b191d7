from __future__ import annotations

from django.urls import path

from django_jobs import views

app_name = "django_jobs"

urlpatterns = [
    path("run", views.run, name="run"),
    path("handle-schedules", views.handle_schedules, name="handle-schedules"),
    path("health", views.health, name="health"),
    path("metrics", views.metrics, name="metrics"),
]
