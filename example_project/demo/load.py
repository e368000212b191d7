"""Do what users of the example would do: upload images, sign up, ask for imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, cycle, zip_longest
from pathlib import Path

from django.core.files import File
from django.db import transaction
from django.db.models import Max

from accounts.workflows import sign_up
from catalogue.models import Tenant
from catalogue.workflows import import_products
from demo.models import DemoRun
from django_jobs.models import Job
from media_library import models as media_library

IMAGES = sorted((Path(media_library.__file__).parent / "images").iterdir())
GALLERIES = [("Everything", True), ("Front page", True), ("Hand-picked", False)]
NO_SUCH_FEED = "atlantis"
TENANTS = [
    ("alpine-outfitters", "Alpine Outfitters"),
    ("brightside-books", "Brightside Books"),
    ("casa-verde", "Casa Verde"),
    ("daily-grind", "The Daily Grind"),
    ("evergreen-toys", "Evergreen Toys"),
    (NO_SUCH_FEED, "Atlantis Trading (has no feed)"),
]
FIRST_NAMES = ["Ada", "Amir", "Bea", "Chen", "Dana", "Emil", "Fay", "Goran", "Hana", "Idris"]
LAST_NAMES = ["Abel", "Berg", "Costa", "Duval", "Endo", "Fuchs", "Greco", "Haas", "Ito", "Kaur"]


@transaction.atomic
def load(jobs: int) -> DemoRun:
    """Fill the queue. It is one transaction: cut off anywhere, it leaves no job behind."""
    last = last_job()
    run = DemoRun.objects.create(first_job=last + 1, last_job=last)
    make_galleries()
    ask_for_imports()
    others = jobs - len(TENANTS)
    sign_ups = others * 2 // 5
    for act in taking_turns(uploads(others - sign_ups), users(run, sign_ups)):
        act()
    run.last_job = last_job()
    run.save()
    return run


def last_job() -> int:
    return Job.objects.aggregate(last=Max("pk"))["last"] or 0


def make_galleries() -> None:
    for title, auto_sync in GALLERIES:
        slug = title.lower().replace(" ", "-")
        media_library.GalleryPage.objects.get_or_create(
            slug=slug, defaults={"title": title, "auto_sync": auto_sync}
        )


def ask_for_imports() -> None:
    for slug, name in TENANTS:
        Tenant.objects.get_or_create(slug=slug, defaults={"name": name})
    import_products.enqueue_many([{"tenant": slug} for slug, _ in TENANTS])


def taking_turns(*sources: Iterator[Callable[[], object]]) -> Iterator[Callable[[], object]]:
    return (act for act in chain.from_iterable(zip_longest(*sources)) if act)


def uploads(count: int) -> Iterator[Callable[[], object]]:
    for number, path in zip(range(1, count + 1), cycle(IMAGES), strict=False):
        yield lambda path=path, number=number: upload(path, number)  # type: ignore[misc]


def upload(path: Path, number: int) -> None:
    title = path.stem.replace("-", " ").capitalize()
    with path.open("rb") as image:
        media_library.MediaItem.objects.create(
            title=f"{title}, no. {number}", image=File(image, name=path.name)
        )


def users(run: DemoRun, count: int) -> Iterator[Callable[[], object]]:
    for number in range(count):
        first = FIRST_NAMES[number % len(FIRST_NAMES)]
        last = LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
        username = f"{first}.{last}.{run.pk}-{number}".lower()
        yield lambda username=username, first=first, last=last: sign_up(  # type: ignore[misc]
            username, f"{username}@example.com", first, last
        )
