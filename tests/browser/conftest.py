"""The admin as its users have it: a real browser against a real server.

The browser is started once per process, and each test has a fresh profile. A test fails by
what the page's console complains of, too, such as what its Content-Security-Policy refuses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser import chromium

HERE = Path(__file__).parent
# In milliseconds: a limit for what hangs, which no test waits for.
TIMEOUT = 30_000

OpenPage = Callable[..., Page]

expect.set_options(timeout=TIMEOUT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(10 * TIMEOUT / 1000))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if os.environ.get("BROWSER_TESTS") == "no":
        pytest.skip("python -m tests runs them on the first database, or with --browser=every.")
    path = chromium.executable()
    if path is None:
        pytest.skip(chromium.MISSING)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's event loop runs in this thread, where Django would refuse its queries. It
        # keeps connections of their own there, too.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=chromium.ARGUMENTS)
        yield browser
        browser.close()
        connections.close_all()


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[OpenPage]:
    """Open a page in a profile of its own, with a user logged in (or None).

    Options are those of Playwright's browser.new_context().
    """
    contexts = []
    complaints: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        # Except what a test has made fail by route.abort().
        if said.type == "error" and "net::ERR_FAILED" not in said.text:
            complaints.append(said.text)

    def open_page(user: User | None, **options: Any) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        if user is not None:
            context.add_cookies([_session_of(user, live_server.url)])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", hear)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def admin(open_page: OpenPage, admin_user: User) -> Page:
    """A page on which a superuser is logged in."""
    return open_page(admin_user)


@pytest.fixture
def viewer(django_user_model: type[User], db: None) -> User:
    """A member of the staff who may look at jobs and all that belongs to them, and no more."""
    user = django_user_model.objects.create_user("viewer", is_staff=True)
    may_view = Permission.objects.filter(
        content_type__app_label="django_jobs", codename__startswith="view_"
    )
    user.user_permissions.set(may_view)
    return user


def _session_of(user: User, url: str) -> Any:
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}
