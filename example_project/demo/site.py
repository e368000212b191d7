"""`manage.py demo --serve`: the site, a worker, and somebody who may log in."""

from __future__ import annotations

import secrets
import socket

from django.contrib.auth.models import User
from django.core.management import CommandError

HOST = "127.0.0.1"


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} of {HOST} cannot be used ({error.strerror}). Choose another: --port."
            ) from error


def one_time_password(username: str) -> str:
    """Let `username` administer the site with a new password, which is kept nowhere."""
    password = secrets.token_urlsafe(12)
    user, _ = User.objects.get_or_create(username=username)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return password
