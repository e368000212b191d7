from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from django_jobs.fields import KeyField
from django_jobs.models import Job


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave the second database as it was found, whatever the test did to it."""
    yield
    call_command("migrate", "django_jobs", database="other", verbosity=0)


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    output = StringIO()
    call_command("makemigrations", "django_jobs", check=True, dry_run=True, stdout=output)
    assert "No changes" in output.getvalue()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("restored")
def test_the_tables_come_and_go_with_the_migrations() -> None:
    Job.objects.using("other").create(slug="work")
    call_command("migrate", "django_jobs", "zero", database="other", verbosity=0)
    assert tables() == set()
    call_command("migrate", "django_jobs", database="other", verbosity=0)
    assert "django_jobs_job" in tables()
    assert Job.objects.using("other").create(slug="work").pk


def tables() -> set[str]:
    names = connections["other"].introspection.table_names()
    return {name for name in names if name.startswith("django_jobs")}


@pytest.mark.django_db
def test_every_index_and_constraint_of_a_job_exists() -> None:
    connection = connections["default"]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "django_jobs_job")
    declared = {index.name for index in Job._meta.indexes}
    declared |= {constraint.name for constraint in Job._meta.constraints}
    assert declared <= set(found)
    assert found["jobs_job_key_slot"]["unique"]
    assert found["jobs_job_unique_key"]["unique"]


@pytest.mark.only_on("sqlite")
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("restored")
def test_a_table_that_sqlite_remakes_keeps_the_indexes_of_what_is_derived() -> None:
    connection = connections["other"]
    model = MigrationLoader(connection).project_state().apps.get_model("django_jobs", "Job")
    slug = model._meta.get_field("slug")
    longer = KeyField(max_length=256)
    longer.set_attributes_from_name("slug")
    with connection.schema_editor() as editor:
        editor.alter_field(model, slug, longer)
        editor.alter_field(model, longer, slug)
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "django_jobs_job")
    assert {index.name for index in Job._meta.indexes} <= set(found)
    assert found["jobs_job_key_slot"]["unique"]
