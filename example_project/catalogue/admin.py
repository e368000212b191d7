from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from catalogue.models import ImportProblem, ImportReport, Product, Tenant
from catalogue.workflows import import_products


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "imports"]
    actions = ["import_now"]

    @admin.action(description="Import products", permissions=["change"])
    def import_now(self, request: HttpRequest, tenants: QuerySet[Tenant]) -> None:
        jobs = import_products.enqueue_many([{"tenant": tenant.slug} for tenant in tenants])
        messages.success(request, f"{len(jobs)} imports queued.")


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["sku", "name", "price", "currency", "stock", "tenant"]
    list_filter = ["tenant", "currency"]
    list_select_related = ["tenant"]
    search_fields = ["sku", "name"]


class ImportProblemInline(admin.TabularInline):
    model = ImportProblem
    extra = 0
    can_delete = False
    readonly_fields = ["line", "reason", "content"]

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ImportReport)
class ImportReportAdmin(admin.ModelAdmin):
    list_display = ["tenant", "job_id", "written", "rejected", "finished_at"]
    list_select_related = ["tenant"]
    readonly_fields = ["job_id", "tenant", "written", "rejected", "started_at", "finished_at"]
    inlines = [ImportProblemInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
