"""What Django's own cursors do for a project is done by these too."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_jobs.queue.cursors import fetch_last, fetch_prepared

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only_on("postgresql")]


@pytest.mark.parametrize("fetch", [fetch_prepared, fetch_last])
def test_a_connection_that_is_found_broken_is_opened_anew(
    fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", 5)
    (broken,) = fetch("SELECT pg_backend_pid()", [], using="default")[0]
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [broken])
    other.close()
    # As a request begins.
    connection.close_if_unusable_or_obsolete()
    (opened,) = fetch("SELECT pg_backend_pid()", [], using="default")[0]
    assert opened != broken
    connection.close()
