"""What must hold on every page of the admin."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import world
from tests.browser.conftest import OpenPage
from tests.browser.pages import every_page

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# The rules of WCAG 2.1 at the level AA, for all but what is Django's own.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
PARTS = {"exclude": [[".breadcrumbs"], ["#nav-sidebar"]]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_every_page(open_page: OpenPage, admin_user, scheme):
    # The checker adds styles of its own to the page.
    page = open_page(admin_user, color_scheme=scheme, bypass_csp=True)
    found = {}
    for name, url in every_page(world.build()).items():
        page.goto(url)
        if problems := violations(page):
            found[name] = problems
    assert not found, "\n".join(f"{name}: {text}" for name, text in found.items())


def violations(page: Page) -> list[str]:
    """Return the rules that the page breaks, each with what breaks it."""
    response: dict[str, Any] = Axe().run(page, context=PARTS, options=RULES).response
    return [
        f"{broken['id']}: {node['html']} {node['failureSummary']}"
        for broken in response["violations"]
        for node in broken["nodes"]
    ]


def test_every_page_fits_on_a_phone(open_page: OpenPage, admin_user):
    page = open_page(admin_user, **PHONE)
    too_wide = {}
    for name, url in every_page(world.build()).items():
        page.goto(url)
        hidden = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if hidden:
            too_wide[name] = hidden
    assert not too_wide


def test_no_page_runs_what_jobs_say_or_tells_their_secrets(admin: Page, settings):
    settings.DJANGO_JOBS = {"REDACT": ["token"]}
    for url in every_page(world.build()).values():
        admin.goto(url)
        assert admin.title() != "hacked"
        assert "s3cret" not in admin.content()
