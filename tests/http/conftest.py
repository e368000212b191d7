from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.backends import AllowAllUsersModelBackend
from django.contrib.auth.models import Permission, User
from django.test import Client

SECRET = "the-secret-of-the-tests"


class Lenient(AllowAllUsersModelBackend):
    """A backend that lets inactive users in, and lets everybody do everything."""

    def has_perm(self, *args: Any, **kwargs: Any) -> bool:
        return True


class People:
    """Users by what they may do, made when they are asked for."""

    def make(self, name: str, *, may_run: bool = False, **fields: Any) -> User:
        user = User.objects.create_user(name, password="x", **fields)
        if may_run:
            user.user_permissions.add(Permission.objects.get(codename="run_job"))
        return user

    def client(self, user: User, **options: Any) -> Client:
        client = Client(**options)
        client.force_login(user)
        return client

    def operator(self, **options: Any) -> Client:
        """Return the client of a user who may run jobs."""
        return self.client(self.make("operator", is_staff=True, may_run=True), **options)


@pytest.fixture
def people(db: None) -> People:
    return People()


@pytest.fixture(autouse=True)
def the_project(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.http.urls"
    settings.DJANGO_JOBS = {"CRON_SECRET": SECRET}


@pytest.fixture
def cron() -> Client:
    """The client of a scheduler that knows the secret, and has no CSRF token."""
    return Client(enforce_csrf_checks=True, headers={"authorization": f"Bearer {SECRET}"})
