"""Tell workers that wait for it that there is something to do; PostgreSQL only.

What is notified in one transaction is sent once, when it commits.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections

from django_jobs import conf

CHANNEL = "django_jobs"
# However seldom a worker polls, in seconds: a dead neighbour is to be noticed within 15.
LONGEST_REST = 5.0
# No queue's name has a comma.
ANY_QUEUE = ",any"


def is_supported(using: str) -> bool:
    return conf.get().NOTIFY and connections[using].vendor == "postgresql"


def notify(queues: Collection[str] = (ANY_QUEUE,), *, using: str) -> None:
    """Wake the workers of these queues."""
    if not queues or not is_supported(using):
        return
    with connections[using].cursor() as cursor:
        for queue in sorted(set(queues)):
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, queue])
