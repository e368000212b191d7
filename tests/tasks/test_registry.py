from __future__ import annotations

import pytest

from django_jobs import UnknownTaskError, task
from django_jobs.tasks import registry


def test_a_declaration_is_found_by_its_slug() -> None:
    @task(slug="b")
    def second() -> None: ...

    @task(slug="a")
    def first() -> None: ...

    assert registry.get("a") is first
    assert registry.find("b") is second
    assert registry.find("c") is None
    slugs = [declaration.slug for declaration in registry.every()]
    assert slugs == sorted(slugs)
    assert {"a", "b"} <= set(slugs)


def test_an_unknown_slug_is_answered_with_the_nearest_and_the_remedy() -> None:
    @task(slug="sync-media")
    def sync() -> None: ...

    with pytest.raises(UnknownTaskError, match=r"'sync-medium'.*mean 'sync-media'\?.*imported"):
        registry.get("sync-medium")


def test_what_a_test_declares_is_forgotten_at_its_end() -> None:
    before = registry.every()
    with registry.isolated():

        @task(slug="passing")
        def passing() -> None: ...

        assert registry.find("passing") is passing
    assert registry.every() == before
