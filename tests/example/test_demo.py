from __future__ import annotations

import os
import re
import signal
import stat
import urllib.request

import pytest

from tests.example.conftest import EXAMPLE, Example

# The example has a database of its own, whichever the others run on.
pytestmark = pytest.mark.only_on("sqlite")

JOBS = "select count(*) from django_jobs_job"
UNFINISHED = f"{JOBS} where status not in ('successful', 'failed', 'cancelled')"
FAILED = "select slug, input from django_jobs_job where status = 'failed'"
STEPS = "select count(*) from django_jobs_joblog where state = 'succeeded' and task_slug = "
ROWS_OF_THE_CSVS = sum(
    len(path.read_text().splitlines()) - 1 for path in (EXAMPLE / "catalogue/data").glob("*.csv")
)


def assert_all_is_done_once(example: Example) -> None:
    """Assert what must hold however often the demo was cut off and run again."""
    assert example.number(UNFINISHED) == 0
    assert example.rows(FAILED) == [("import-products", '{"tenant": "atlantis"}')]
    users = example.number("select count(*) from auth_user")
    assert example.number("select count(*) from accounts_profile") == users
    assert example.number("select count(*) from accounts_subscription") == users
    imports = dict(example.rows("select slug, imports from catalogue_tenant"))
    assert imports.pop("atlantis") == 0
    assert list(imports.values()) == [1] * 5
    products = example.number("select count(*) from catalogue_product")
    problems = example.number("select count(*) from catalogue_importproblem")
    assert products + problems == ROWS_OF_THE_CSVS
    assert example.number("select count(*) from media_library_mediaitem where thumbnail = ''") == 0


def test_every_job_of_the_demo_is_done(finished: Example) -> None:
    assert_all_is_done_once(finished)
    assert finished.number(JOBS) == 30


def test_a_finished_step_is_not_run_again_when_the_mail_fails(finished: Example) -> None:
    users = finished.number("select count(*) from auth_user")

    assert finished.number(f"{STEPS} 'create-profile'") == users
    assert len(re.findall(r"^Subject: Welcome", mails(finished), re.MULTILINE)) == users


def mails(example: Example) -> str:
    return "".join(path.read_text() for path in (example.var / "mail").iterdir())


def test_images_are_on_the_pages_with_auto_sync_only(finished: Example) -> None:
    rows = finished.rows(
        "select p.slug, count(i.id) from media_library_gallerypage p "
        "left join media_library_gallerypage_images i on i.gallerypage_id = p.id group by p.slug"
    )
    images = finished.number("select count(*) from media_library_mediaitem")

    assert dict(rows) == {"everything": images, "front-page": images, "hand-picked": 0}


def test_the_report_shows_thumbnails_that_exist(finished: Example) -> None:
    page = (finished.var / "report.html").read_text()
    shown = re.findall(r'<img src="([^"]+)"', page)

    assert len(shown) == finished.number("select count(*) from media_library_mediaitem")
    assert all((finished.var / path).is_file() for path in shown)
    assert "SKU CA-16377 is already used further up" in page


def test_the_output_says_what_failed_on_purpose_and_where_to_look(finished: Example) -> None:
    output = finished.started[0].output

    assert "Failed for good on purpose" in output
    assert "create-profile: not run again" in output
    assert (finished.var / "report.html").as_uri() in output
    assert "demo --serve" in output


def test_the_secret_key_is_for_its_owner_only(finished: Example) -> None:
    key = finished.var / "secret_key"

    assert len(key.read_text()) >= 50
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_demo_can_be_run_twice(example: Example) -> None:
    example.demo("--jobs", "12")
    products = example.number("select count(*) from catalogue_product")
    output = example.demo("--jobs", "12")

    assert "12 jobs queued" in output
    assert example.number(JOBS) == 24
    assert example.number(UNFINISHED) == 0
    assert example.number("select count(*) from catalogue_product") == products
    assert example.number("select max(imports) from catalogue_tenant") == 2


def test_an_interrupted_demo_goes_on_when_it_is_started_again(example: Example) -> None:
    demo = example.start("demo", "--jobs", "150")
    demo.wait_for("Running them")
    example.wait_for_steps(20)
    demo.send_signal(signal.SIGINT)

    assert demo.wait() == 130
    assert "jobs left. They are kept." in demo.output
    assert example.number(f"{JOBS} where status = 'running'") == 0
    assert "Going on with those" in example.demo("--jobs", "150")
    assert example.number(JOBS) == 150
    assert_all_is_done_once(example)


def test_the_worker_stops_when_the_demo_is_killed(example: Example) -> None:
    demo = example.start("demo", "--jobs", "150")
    demo.wait_for("Running them")
    example.wait_for_steps(20)
    demo.kill()

    assert "Going on with those" in example.demo()
    assert "Stopped." in (example.var / "worker.log").read_text()
    assert_all_is_done_once(example)


def test_the_demo_goes_on_after_it_is_killed_with_its_worker(example: Example) -> None:
    demo = example.start("demo", "--jobs", "150")
    demo.wait_for("Running them")
    example.wait_for_steps(20)
    worker = example.number("select pid from django_jobs_worker")
    os.kill(demo.pid, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)

    assert "Going on with those" in example.demo()
    assert example.number(JOBS) == 150
    assert_all_is_done_once(example)


def test_a_demo_killed_while_it_queues_leaves_nothing_half_queued(example: Example) -> None:
    demo = example.start("demo", "--jobs", "5000")
    demo.wait_for("Uploading images")
    demo.kill()

    assert example.number(JOBS) == 0
    assert "12 jobs queued" in example.demo("--jobs", "12")


def test_the_site_is_served_to_who_has_the_password(finished: Example, free_port: int) -> None:
    server = finished.start("demo", "--serve", "--port", str(free_port))
    site = server.wait_for(r"The site: +(\S+)")[1]
    password = server.wait_for(r"password (\S+)")[1]
    server.wait_for("Quit the server")
    page = urllib.request.urlopen(site).read().decode()
    server.send_signal(signal.SIGINT)

    assert server.wait() in {0, 130}
    assert "Hand-picked" in page
    assert "Uploading images" not in server.output
    assert len(password) >= 16
    assert password not in (finished.var / "worker.log").read_text()


def test_numbers_that_cannot_be_are_refused(example: Example) -> None:
    process = example.start("demo", "--jobs", "3")

    assert process.wait() == 2
    assert "'3' is not a number from 10" in process.output
