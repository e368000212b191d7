"""Import the products of one tenant: fetch, transform, write, finalise.

Steps hand each other the names of files and counts, not the thousands of rows: what a step
returns is stored with the job. The files are in IMPORT_DIR; workers on several machines would
share a bucket instead.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections, router
from django.db.models import F
from django.utils import timezone

from catalogue.feed import Problem, read_feed
from catalogue.models import ImportProblem, ImportReport, Product, Tenant
from django_jobs import Concurrency, JobContext, Retry, task, workflow

DATA_DIR = Path(__file__).parent / "data"
CHUNK = 100


@task(
    slug="fetch-feed",
    # A feed that is not there now will not be there in a second: no retry for that.
    retries=Retry(
        attempts=3, delay=1, backoff="exponential", jitter=True, give_up_on=FileNotFoundError
    ),
    takes_context=True,
)
def fetch_feed(ctx: JobContext, tenant: str) -> dict[str, Any]:
    """Copy the feed of a tenant, known by its row, so that a slug is never a path."""
    source = DATA_DIR / f"{Tenant.objects.get(slug=tenant).slug}.csv"
    settings.IMPORT_DIR.mkdir(parents=True, exist_ok=True)
    name = f"{tenant}-{ctx.job.pk}.csv"
    shutil.copyfile(source, settings.IMPORT_DIR / name)
    return {"file": name, "bytes": source.stat().st_size}


@task(slug="transform-feed", takes_context=True)
def transform_feed(ctx: JobContext, tenant: str, file: str) -> dict[str, Any]:
    """Split the feed into products to write and problems to report."""
    report = fresh_report(ctx.job.pk, tenant)
    target = f"{file}.jsonl"
    problems, good = [], 0
    with (
        (settings.IMPORT_DIR / file).open(encoding="utf-8", errors="replace", newline="") as feed,
        (settings.IMPORT_DIR / target).open("w", encoding="utf-8") as output,
    ):
        for count, row in enumerate(read_feed(feed), start=1):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                good += 1
                output.write(json.dumps(row, default=str) + "\n")
            if count % CHUNK == 0:
                ctx.set_progress(count, message="lines checked")
    report_problems(ctx, report, problems)
    return {"file": target, "good": good, "bad": len(problems)}


def fresh_report(job_id: int, tenant: str) -> ImportReport:
    """Return the report of this job, emptied of what an attempt that was cut off left there."""
    report, _ = ImportReport.objects.get_or_create(
        job_id=job_id, defaults={"tenant": Tenant.objects.get(slug=tenant)}
    )
    report.problems.all().delete()
    return report


def report_problems(ctx: JobContext, report: ImportReport, problems: list[Problem]) -> None:
    ImportProblem.objects.bulk_create(
        ImportProblem(report=report, line=bad.line, reason=bad.reason, content=bad.content)
        for bad in problems
    )
    if problems:
        lines = [bad.line for bad in problems]
        ctx.log(f"{len(problems)} lines are left out of the import.", lines=lines)


@task(slug="write-products", retries=3, takes_context=True)
def write_products(ctx: JobContext, tenant: str, file: str, total: int) -> int:
    """Write the products chunk by chunk. A product written twice is the same product."""
    owner = Tenant.objects.get(slug=tenant)
    written = 0
    with (settings.IMPORT_DIR / file).open(encoding="utf-8") as lines:
        for chunk in chunks(Product(tenant=owner, **json.loads(line)) for line in lines):
            upsert(chunk)
            written += len(chunk)
            ctx.set_progress(written, total, "products written")
            ctx.raise_if_cancelled()
    return written


def chunks(products: Iterator[Product]) -> Iterator[list[Product]]:
    while chunk := list(islice(products, CHUNK)):
        yield chunk


def upsert(products: list[Product]) -> None:
    features = connections[router.db_for_write(Product)].features
    Product.objects.bulk_create(
        products,
        update_conflicts=True,
        update_fields=["name", "price", "currency", "stock"],
        # MySQL finds the conflicting key by itself, and may not be told.
        unique_fields=["tenant", "sku"] if features.supports_update_conflicts_with_target else None,
    )


# Counting an import is the one write here that must not happen twice. With atomic=True it
# commits in the same transaction as the record that the step has succeeded.
@task(slug="finalise-import", atomic=True, takes_context=True)
def finalise_import(ctx: JobContext, tenant: str, written: int, rejected: int) -> None:
    ImportReport.objects.filter(job_id=ctx.job.pk).update(
        written=written, rejected=rejected, finished_at=timezone.now()
    )
    Tenant.objects.filter(slug=tenant).update(imports=F("imports") + 1)


@workflow(
    slug="import-products",
    label="Import products",
    queue="imports",
    # Two imports of one tenant never run at the same time; those of two tenants may.
    concurrency=Concurrency(key=lambda input, queue: f"tenant:{input['tenant']}"),
)
def import_products(ctx: JobContext, tenant: str) -> dict[str, int]:
    feed = ctx.run("fetch", fetch_feed, tenant=tenant)
    rows = ctx.run("transform", transform_feed, tenant=tenant, file=feed["file"])
    written = ctx.run("write", write_products, tenant=tenant, file=rows["file"], total=rows["good"])
    ctx.run("finalise", finalise_import, tenant=tenant, written=written, rejected=rows["bad"])
    return {"written": written, "rejected": rows["bad"]}
