from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandParser
from django.test import Client

from demo.management.commands.demo import number_from
from scale.pages import measure_pages


class Command(BaseCommand):
    help = "Prints how long the pages of the admin take with the jobs there are, and their queries."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rounds", type=number_from(1), default=3, help="The best counts. Default: 3."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        settings.ALLOWED_HOSTS = ["testserver"]
        user = User.objects.create_superuser(f"measure-{uuid4()}")
        try:
            self.measure(user, options["rounds"])
        finally:
            user.delete()

    def measure(self, user: User, rounds: int) -> None:
        client = Client()
        client.force_login(user)
        for page in measure_pages(client, rounds):
            self.stdout.write(
                f"{page.milliseconds:8.1f} ms {page.queries:3d} queries  {page.name}"
                + ("" if page.status == 200 else f" (status {page.status})")
            )
            self.stdout.flush()
