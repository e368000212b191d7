from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

Staff = Callable[..., Client]


@pytest.fixture
def staff(client: Client) -> Staff:
    """Log a member of the staff in who has the permissions named in the call."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        permissions = Permission.objects.filter(
            content_type__app_label="django_jobs", codename__in=codenames
        )
        user.user_permissions.set(permissions)
        client.force_login(user)
        return client

    return log_in
