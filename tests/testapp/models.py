from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """What a handler writes, so that a test can see that it ran."""

    name = models.CharField(max_length=100)
    number = models.IntegerField(default=0)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name


class Receipt(models.Model):
    """What may exist once only, so that a second run of a handler is an error."""

    key = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return self.key
