"""What keeps the admin quick with a million jobs, shown with a few."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.browser import world
from tests.browser.pages import every_page

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/django_jobs/job/"
MOST_QUERIES = 19
# A count of rows that nothing bounds: neither a limit within, nor the keys of some rows.
UNBOUNDED = re.compile(r"COUNT\((?!.*(LIMIT|\bIN \())", re.DOTALL)


def test_every_page_takes_few_queries_and_counts_no_more_than_it_shows(admin_client):
    pages = every_page(world.build())
    pages["search by key"] = f"{LIST}?q=till:1"
    for parameter in ("status=ready", "status=delayed", "queue=mail", "slug=greet", "stuck=any"):
        pages[parameter] = f"{LIST}?{parameter}"
    table = connection.ops.quote_name("django_jobs_job")
    for name, url in pages.items():
        admin_client.get(url)
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(url)
        assert len(queries) <= MOST_QUERIES, name
        of_jobs = [q["sql"] for q in queries if table in q["sql"]]
        assert not [sql for sql in of_jobs if UNBOUNDED.search(sql)], name
