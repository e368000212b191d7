from __future__ import annotations

from django.core.files.storage import Storage, storages
from django.db import models


def thumbnail_storage() -> Storage:
    return storages["thumbnails"]


class MediaItem(models.Model):
    title = models.CharField(max_length=120)
    image = models.ImageField(upload_to="originals/")
    thumbnail = models.ImageField(storage=thumbnail_storage, blank=True, editable=False)
    preview = models.ImageField(storage=thumbnail_storage, blank=True, editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name = "image"

    def __str__(self) -> str:
        return self.title


class GalleryPage(models.Model):
    title = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    auto_sync = models.BooleanField(
        default=True, help_text="Add every image that is uploaded to this page."
    )
    images = models.ManyToManyField(MediaItem, related_name="pages", blank=True)

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title
