"""Which task or workflow a slug stands for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from django_jobs.exceptions import UnknownTaskError

if TYPE_CHECKING:
    from django_jobs.tasks.task import Declaration

Finder = Callable[[str], "Declaration[Any, Any] | None"]

_declarations: dict[str, Declaration[Any, Any]] = {}
_finders: list[Finder] = []


def add(declaration: Declaration[Any, Any]) -> None:
    """Register a declaration; raise ImproperlyConfigured where its slug is taken."""
    other = _declarations.get(declaration.slug)
    if other is not None:
        raise ImproperlyConfigured(
            f"The slug {declaration.slug!r} is declared twice: by {other.place} and by "
            f"{declaration.place}. Give one of them another slug=."
        )
    _declarations[declaration.slug] = declaration


def find(slug: str, *, look_elsewhere: bool = True) -> Declaration[Any, Any] | None:
    declaration = _declarations.get(slug)
    if declaration is None and look_elsewhere:
        return next(filter(None, (finder(slug) for finder in _finders)), None)
    return declaration


def look_elsewhere_with(finder: Finder) -> None:
    """Have this asked for slugs that are not registered; it may register a declaration."""
    if finder not in _finders:
        _finders.append(finder)


def get(slug: str) -> Declaration[Any, Any]:
    """Return the declaration; raise UnknownTaskError where there is none."""
    declaration = find(slug)
    if declaration is None:
        near = difflib.get_close_matches(str(slug), _declarations, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownTaskError(
            f"No task or workflow is registered as {slug!r}.{hint} Is the module that declares "
            "it imported, for example as `tasks` of an app in INSTALLED_APPS?"
        )
    return declaration


def every() -> list[Declaration[Any, Any]]:
    """Return all declarations by slug."""
    return [_declarations[slug] for slug in sorted(_declarations)]


@contextmanager
def isolated() -> Iterator[None]:
    """Forget at the end what was declared in the block, for tests that declare tasks."""
    before = dict(_declarations)
    try:
        yield
    finally:
        _declarations.clear()
        _declarations.update(before)
