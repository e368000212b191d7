"""The German words are complete and fit what they translate."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import django_jobs
from tests.processes import ROOT

PACKAGE = Path(django_jobs.__path__[0])
CATALOGUE = Path("locale/de/LC_MESSAGES/django.po")
REFRESH = """
import os, sys
import django
from django.conf import settings
from django.core.management import call_command
settings.configure()
django.setup()
os.chdir(sys.argv[1])
call_command("makemessages", locale=["de"], no_obsolete=True, add_location="file", verbosity=0)
"""
PLACEHOLDER = re.compile(r"%\(\w+\)[ds]|%[ds]|\{\w*\}")

# The plural, or nothing, and the translations of a text.
Message = tuple[str, list[str]]


def messages(path: Path) -> dict[str, Message]:
    found = {}
    for entry in path.read_text(encoding="utf-8").split("\n\n")[1:]:
        parts: dict[str, str] = {}
        for line in entry.splitlines():
            if match := re.match(r'(msg\S+(?:\[\d\])?) "(.*)"$', line):
                name = match[1]
                parts[name] = match[2]
            elif line.startswith('"'):
                parts[name] += line[1:-1]
        texts = [text for name, text in parts.items() if name.startswith("msgstr")]
        found[parts["msgid"]] = (parts.get("msgid_plural", ""), texts)
    return found


@pytest.fixture(scope="module")
def german() -> dict[str, Message]:
    return messages(PACKAGE / CATALOGUE)


def test_every_text_is_translated(german):
    assert "fuzzy" not in (PACKAGE / CATALOGUE).read_text(encoding="utf-8")
    assert not [text for text, (_plural, translated) in german.items() if not all(translated)]


def test_translations_have_the_placeholders_of_their_texts(german):
    for text, (plural, translated) in german.items():
        wanted = {*PLACEHOLDER.findall(text), *PLACEHOLDER.findall(plural)}
        for translation in translated:
            # The singular may say "one" in words.
            assert set(PLACEHOLDER.findall(translation)) <= wanted, text
        assert set(PLACEHOLDER.findall(translated[-1])) == wanted, text


def test_what_is_compiled_is_what_is_written(german):
    with (PACKAGE / CATALOGUE).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for text, (plural, translated) in german.items():
        if plural:
            assert [compiled.ngettext(text, plural, number) for number in (1, 2)] == translated
        else:
            assert compiled.gettext(text) == translated[0]


@pytest.mark.skipif(not shutil.which("xgettext"), reason="gettext's tools are not installed")
def test_no_text_of_the_package_is_missing(german, tmp_path):
    copy = tmp_path / "django_jobs"
    shutil.copytree(PACKAGE, copy)
    command = [sys.executable, "-P", "-c", REFRESH, str(copy)]
    subprocess.run(command, check=True, cwd=ROOT)
    refreshed = messages(copy / CATALOGUE)
    assert refreshed.keys() == german.keys(), (
        "Run makemessages -l de and compilemessages in django_jobs, and translate what is new."
    )


def test_the_admin_speaks_german(admin_client, settings):
    settings.LANGUAGE_CODE = "de"
    page = admin_client.get("/admin/django_jobs/overview/").content.decode()
    assert "Noch gibt es keine Warteschlangen." in page
