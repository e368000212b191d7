from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models


class Tenant(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    imports = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    class Currency(models.TextChoices):
        CHF = "CHF"
        EUR = "EUR"
        GBP = "GBP"
        USD = "USD"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="products")
    sku = models.CharField("SKU", max_length=32)
    name = models.CharField(max_length=120)
    price = models.DecimalField(max_digits=9, decimal_places=2, validators=[MinValueValidator(0)])
    currency = models.CharField(max_length=3, choices=Currency)
    stock = models.PositiveIntegerField()

    class Meta:
        ordering = ["tenant", "sku"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sku"], name="catalogue_product_sku")
        ]

    def __str__(self) -> str:
        return self.name


class ImportReport(models.Model):
    """What one import did. It names its job, and outlives it when jobs are pruned."""

    job_id = models.PositiveBigIntegerField(unique=True)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="reports")
    written = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.tenant}, import {self.job_id}"


class ImportProblem(models.Model):
    report = models.ForeignKey(ImportReport, models.CASCADE, related_name="problems")
    line = models.PositiveIntegerField()
    reason = models.CharField(max_length=200)
    content = models.CharField(max_length=200)

    class Meta:
        ordering = ["report", "line"]

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"
