from __future__ import annotations

from catalogue.models import Tenant
from catalogue.workflows import import_products
from django_jobs import task


@task(slug="nightly-import", label="Import every tenant", schedule="0 3 * * *")
def nightly_import() -> dict[str, int]:
    """Queue an import for every tenant that has had one; a running worker does it every night."""
    tenants = Tenant.objects.filter(imports__gt=0).values_list("slug", flat=True)
    jobs = import_products.enqueue_many([{"tenant": slug} for slug in tenants])
    return {"queued": len(jobs)}
