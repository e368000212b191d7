"""The documentation says what the code does: its examples run, and its lists are complete."""

from __future__ import annotations

import argparse
import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
import types
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import pytest
from django.apps import apps
from django.core.management import BaseCommand, get_commands, load_command_class

import django_jobs
from django_jobs import Concurrency, JobContext, Retry, Step, Task, conf, exceptions, jobs, signals
from django_jobs import testing as jobs_testing
from django_jobs.pytest_plugin import (  # noqa: F401 - a page shows tests that use them
    assert_enqueued,
    inline_jobs,
    run_jobs,
)
from django_jobs.queue.lifecycle import MOVES
from django_jobs.tasks.declare import build
from django_jobs.tasks.enqueue import Options

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
TUTORIAL = DOCS / "tutorial.md"

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_COMMENT = re.compile(r"# (\w+(?:/\w+)*\.py)\n")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `info` are the words behind its fence."""

    page: Path
    line: int
    info: tuple[str, ...]
    text: str

    @property
    def language(self) -> str:
        return self.info[0] if self.info else ""

    @property
    def file(self) -> str | None:
        """The file that the first line of the block says it is of."""
        match = FILE_COMMENT.match(self.text)
        return match[1] if match else None

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "pycon") and "no-run" not in self.info

    def compile(self) -> types.CodeType:
        """Return the code with the line numbers of the page, for its tracebacks."""
        return compile("\n" * self.line + self.text, str(self.page), "exec")


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, tuple(match[1].split()), match[2])
        for match in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def words_of(*pages: Path) -> set[str]:
    """Return every word in code that the pages name."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    spans = " ".join(CODE_SPAN.findall(FENCE.sub("", text)))
    return set(re.findall(r"--[a-z][\w-]*|[A-Za-z_]\w*", spans))


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN_PAGES = [
    page for page in PAGES if page != TUTORIAL and any(block.is_run for block in blocks_of(page))
]
each_run_page = pytest.mark.parametrize("page", RUN_PAGES, ids=name_of)
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Examples


@each_page
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            block.compile()


def test_no_page_hides_its_examples_from_these_tests() -> None:
    hidden = [block for block in ALL_BLOCKS if "no-run" in block.info]
    unknown = {block.language for block in ALL_BLOCKS} - {
        "python", "pycon", "console", "ini", "mermaid", "text",
    }  # fmt: skip
    assert (len(hidden) <= 3, unknown) == (True, set())


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The namespace of `shop.tasks`, the module that the examples of a page are part of."""
    package, tasks = types.ModuleType("shop"), types.ModuleType("shop.tasks")
    payments = types.ModuleType("shop.payments")
    payments.charge = (  # type: ignore[attr-defined]
        lambda amount, idempotency_key: f"{amount} paid by {idempotency_key}"
    )
    package.__path__ = []
    for module in (package, tasks, payments):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    if django.VERSION < (6, 0):
        # The pages are for readers of today; the backport has the same names.
        monkeypatch.setitem(sys.modules, "django.tasks", import_module("django_tasks"))
    return vars(tasks)


@each_run_page
@pytest.mark.django_db(transaction=True)
def test_the_examples_of_a_page_run(
    page: Path, shop: dict[str, Any], settings: Any, request: pytest.FixtureRequest
) -> None:
    for block in blocks_of(page):
        if not block.is_run:
            continue
        if block.language == "pycon":
            run_session(block, shop)
        elif block.file in ("settings.py", "shop/settings.py"):
            run_settings(block, settings)
        else:
            run_tests_of(run_block(block, shop), shop, request)


def run_block(block: Block, namespace: dict[str, Any]) -> set[str]:
    """Run the block; return the names that it defines."""
    before = dict(namespace)
    exec(block.compile(), namespace)
    return {name for name, value in namespace.items() if before.get(name) is not value}


def run_settings(block: Block, settings: Any) -> None:
    """Read the settings; those of Django's tasks are put in force."""
    namespace: dict[str, Any] = {"BASE_DIR": Path("/srv/shop"), "INSTALLED_APPS": []}
    exec(block.compile(), namespace)
    _settings, problems = conf.read(namespace.get(conf.SETTING, {}))
    assert problems == []
    if "TASKS" in namespace:
        settings.TASKS = namespace["TASKS"]


def run_session(block: Block, namespace: dict[str, Any]) -> None:
    """Compare what an interactive session prints with the page."""
    test = doctest.DocTestParser().get_doctest(
        block.text, namespace, name_of(block.page), str(block.page), block.line
    )
    test.globs = namespace
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(test, out=report.append, clear_globs=False).failed
    assert not failed, "".join(report)


def run_tests_of(
    names: set[str], namespace: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Run the tests that a page shows: functions with fixtures, and test cases."""
    for name in sorted(names):
        value = namespace[name]
        if inspect.isfunction(value) and name.startswith("test_"):
            needed = inspect.signature(value).parameters
            value(**{fixture: request.getfixturevalue(fixture) for fixture in needed})
        elif inspect.isclass(value) and issubclass(value, unittest.TestCase):
            # One that is imported, such as TestCase itself, has no tests.
            cases = unittest.defaultTestLoader.loadTestsFromTestCase(value)
            result = unittest.TestResult()
            cases.run(result)
            assert [text for _case, text in result.failures + result.errors] == []


# The tutorial


@pytest.mark.only_on("sqlite")
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    tutorial = Tutorial(tmp_path)
    for block in blocks_of(TUTORIAL):
        tutorial.follow(block)
    assert tutorial.commands_run > 5


class Tutorial:
    """Does in a folder of its own what a reader does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands_run = 0
        bin_folder = f"{Path(sys.executable).parent}{os.pathsep}"
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")
        } | {
            "PATH": bin_folder + os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "DJANGO_SUPERUSER_PASSWORD": "tutorial",
            "COLUMNS": "200",
        }
        self.last_output = ""

    def follow(self, block: Block) -> None:
        if block.language == "python":
            self.write(block)
        elif block.language == "pycon":
            self.type_into_the_shell(block)
        elif block.language == "console":
            for command in commands_of(block):
                self.run(command)
        elif block.language == "text":
            self.compare(block)

    def write(self, block: Block) -> None:
        """Write the file, or with "append" behind the fence add to it."""
        assert block.file, f"{name_of(block.page)}:{block.line} does not say which file it is of"
        path = self.folder / "mysite" / block.file
        before = path.read_text() if "append" in block.info else ""
        path.write_text(before + block.text)

    def type_into_the_shell(self, block: Block) -> None:
        program = (
            "import django, doctest, sys; django.setup(); "
            "test = doctest.DocTestParser().get_doctest(sys.stdin.read(), {}, 'tutorial', '', 0); "
            "flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE; "
            "sys.exit(doctest.DocTestRunner(optionflags=flags).run(test).failed)"
        )
        self.call([sys.executable, "-c", program], input=block.text)

    def run(self, command: str) -> None:
        words = shlex.split(command)
        if words[0] == "cd" or words[:3] == ["python", "-m", "venv"] or "pip" in words[0]:
            return
        if words[2:3] == ["runserver"]:
            words = ["python", "manage.py", "check"]
        if words[2:3] == ["createsuperuser"]:
            words.append("--no-input")
        if words[2:3] == ["runjobs"] and "--until-empty" not in words:
            words.append("--until-empty")
        self.call(words)

    def compare(self, block: Block) -> None:
        """Look for each line of the output that the page shows, times and dots left out."""
        for line in filter(None, map(str.strip, block.text.splitlines())):
            pattern = ".*".join(map(re.escape, line.split("…")))
            assert re.search(pattern, self.last_output), f"{line!r} not in {self.last_output}"

    def call(self, words: list[str], input: str | None = None) -> None:
        folder = self.folder / "mysite"
        words = [sys.executable, *words[1:]] if words[0] == "python" else words
        done = subprocess.run(
            words, cwd=folder if folder.exists() else self.folder, input=input, text=True,
            env=self.env | {"DJANGO_SETTINGS_MODULE": "mysite.settings"}, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{shlex.join(words)}\n{input or ''}\n{done.stdout}"
        self.commands_run += 1
        self.last_output = done.stdout


# Commands


def commands_of(block: Block) -> list[str]:
    """Return the commands of a console block, lines that end in a backslash put together."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line and not line.startswith("#")]


def management_commands() -> Iterator[tuple[Path, str, set[str], bool]]:
    for block in ALL_BLOCKS:
        for command in commands_of(block) if block.language in ("console", "ini") else ():
            if match := re.search(r"manage\.py ([a-z_]+)(.*)", command):
                flags = {word.partition("=")[0] for word in match[2].split()}
                flags = {flag for flag in flags if flag[:1] == "-"}
                yield block.page, match[1], flags, "example_project" in command


def flags_of(command: str) -> set[str]:
    loaded = load_command_class(get_commands()[command], command)
    return options_of(loaded.create_parser("manage.py", command))


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the flags of the parser and of its verbs."""
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*map(options_of, action.choices.values()))
    return found


@pytest.mark.parametrize(
    ("page", "command", "flags", "is_example"),
    [
        pytest.param(*row, id=f"{name_of(row[0])} {row[1]}")
        for row in dict.fromkeys(
            (page, command, frozenset(flags), is_example)
            for page, command, flags, is_example in management_commands()
        )
    ],
)
def test_a_command_of_the_documentation_exists_with_its_flags(
    page: Path, command: str, flags: frozenset[str], is_example: bool
) -> None:
    if is_example:
        found = (ROOT / "example_project").rglob(f"management/commands/{command}.py")
        assert list(found), f"{command} is no command of the example project"
        return
    assert flags <= flags_of(command)


def django_parser() -> argparse.ArgumentParser:
    """Return a parser with the flags that every command has."""
    return BaseCommand().create_parser("manage.py", "any")


def own_commands() -> list[str]:
    return [name for name, app in get_commands().items() if app == "django_jobs"]


def test_the_reference_has_every_flag_of_every_command() -> None:
    documented = words_of(REFERENCE / "commands.md")
    flags = set().union(*map(flags_of, own_commands())) - options_of(django_parser())
    assert missing({*own_commands(), *flags}, documented) == []


def test_the_reference_has_no_flag_that_no_command_has() -> None:
    documented = {word for word in words_of(REFERENCE / "commands.md") if word.startswith("--")}
    known = set().union(*map(flags_of, own_commands()))
    assert missing(documented, known) == []


# Names


def missing(names: Any, documented: set[str]) -> list[str]:
    return sorted(set(names) - documented)


def public_names(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


def field_names(cls: Any) -> list[str]:
    return [field.name for field in fields(cls) if field.init]


def sent_signals() -> list[str]:
    return [name for name in vars(signals) if re.match(r"(job|claim)_", name)]


def errors() -> list[str]:
    return [
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, exceptions.JobsError)
    ]


COMPLETE: dict[str, tuple[str, Callable[[], Any]]] = {
    "every public name": ("*", lambda: django_jobs.__all__),
    "every option of a declaration": (
        "declarations",
        lambda: [name for name in inspect.signature(build).parameters if name != "kind"],
    ),
    "every method of a task": (
        "declarations",
        lambda: [name for name in dir(Task) if "enqueue" in name or name == "using"],
    ),
    "every option of a call": (
        "declarations",
        lambda: set(field_names(Options)) - {"log", "parent"},
    ),
    "every field of Retry": ("declarations", lambda: field_names(Retry)),
    "every field of Concurrency": ("declarations", lambda: field_names(Concurrency)),
    "every field of Step": ("declarations", lambda: field_names(Step)),
    "every member of the context": ("context", lambda: public_names(JobContext)),
    "every operation": ("jobs", lambda: jobs.__all__),
    "every error": ("errors-and-signals", errors),
    "every signal": ("errors-and-signals", sent_signals),
    "every setting": ("settings", lambda: field_names(conf.Settings)),
    "every helper for tests": ("testing", lambda: jobs_testing.__all__),
}


@pytest.mark.parametrize(("page", "names"), COMPLETE.values(), ids=COMPLETE.keys())
def test_the_reference_has(page: str, names: Callable[[], Any]) -> None:
    assert missing(names(), words_of(*REFERENCE.glob(f"{page}.md"))) == []


@pytest.mark.parametrize("model", list(apps.get_app_config("django_jobs").get_models()))
def test_the_reference_has_every_field_and_permission_of(model: Any) -> None:
    names = {field.name for field in model._meta.concrete_fields}
    permissions = {codename for codename, _name in model._meta.permissions}
    documented = words_of(REFERENCE / "models.md")
    assert missing({model.__name__, *names, *permissions}, documented) == []


def test_the_reference_has_every_value_of_every_choice() -> None:
    from django_jobs import models

    values = {
        str(value)
        for choices in (models.JobStatus, models.JobKind, models.LogState)
        for value in choices.values
    }
    assert missing(values, words_of(REFERENCE / "models.md")) == []


def test_the_reference_has_every_system_check_and_no_other() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "django_jobs").rglob("*.py"))
    page = (REFERENCE / "checks.md").read_text()
    ids = r"django_jobs\.([EWI]\d{3})"
    assert set(re.findall(ids, page)) == set(re.findall(ids, sources))


SETTING_ROW = re.compile(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", re.MULTILINE)


def test_the_defaults_of_the_settings_are_those_of_the_code() -> None:
    rows = SETTING_ROW.findall((REFERENCE / "settings.md").read_text())
    given = {key: eval(default, {"timedelta": timedelta}) for key, default in rows}
    settings, problems = conf.read(given)
    assert (set(given), problems, settings) == (
        set(field_names(conf.Settings)),
        [],
        conf.Settings(),
    )


@each_page
def test_what_a_page_names_exists(page: Path) -> None:
    """A renamed function is noticed wherever it is mentioned."""
    text = page.read_text(encoding="utf-8")
    owners = {
        r"\bjobs\.": dir(jobs),
        # What is set by __init__ is no attribute of the class.
        r"\bctx\.": [*dir(JobContext), "input"],
        r"Job\.objects\.": dir(_job().objects.all()),
    }
    absent = [
        f"{pattern}{name}"
        for pattern, names in owners.items()
        for name in re.findall(rf"(?<![/.\w]){pattern}([a-z]\w*)\b(?=\(|`)", text)
        if name not in names
    ]
    modules = {
        name
        for name in re.findall(r"`(django_jobs\.[\w.]+)`", text)
        if not re.match(r"django_jobs\.[EW\w]*\d", name) and not _is_importable(name)
    }
    assert (absent, modules) == ([], set())


def _job() -> Any:
    return apps.get_model("django_jobs", "Job")


def _is_importable(path: str) -> bool:
    """Whether it is a module, a name of one, a logger's or a permission's."""
    module, _, name = path.rpartition(".")
    if name.endswith("_job"):
        return True
    try:
        import_module(path)
    except ModuleNotFoundError:
        return hasattr(import_module(module), name)
    return True


# The state machine


def test_the_diagram_has_the_moves_of_the_state_machine() -> None:
    [diagram] = [
        block.text
        for block in blocks_of(DOCS / "explanation" / "states.md")
        if block.language == "mermaid"
    ]
    drawn = set(re.findall(r"^ *(\w+) --> (\w+)", diagram, re.MULTILINE))
    moves = {(str(source.value), str(target.value)) for source in MOVES for target in MOVES[source]}
    assert drawn == moves


# Form


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


def anchors_of(page: Path) -> set[str]:
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_the_index_has_every_page() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / target).resolve() for target in LINK.findall(index.read_text())}
    assert {page for page in DOCS.rglob("*.md") if page != index} - linked == set()


def test_the_readme_begins_with_two_commands() -> None:
    first, second = blocks_of(ROOT / "README.md")[:2]
    assert [len(commands_of(block)) for block in (first, second)] == [1, 1]
    assert "manage.py demo" in first.text
    assert second.text == "python3.11 -m tests\n"


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text().count("\n") < 150


def test_the_changelog_has_the_version_of_the_package() -> None:
    versions = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert "Unreleased" in versions or django_jobs.__version__ in versions
