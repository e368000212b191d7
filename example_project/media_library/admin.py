from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from media_library.models import GalleryPage, MediaItem


@admin.register(MediaItem)
class MediaItemAdmin(admin.ModelAdmin):
    list_display = ["picture", "title", "uploaded_at"]
    list_display_links = ["picture", "title"]
    search_fields = ["title"]

    @admin.display(description="thumbnail")
    def picture(self, item: MediaItem) -> str:
        if not item.thumbnail:
            return "in the queue"
        return format_html('<img src="{}" alt="" height="60">', item.thumbnail.url)


@admin.register(GalleryPage)
class GalleryPageAdmin(admin.ModelAdmin):
    list_display = ["title", "auto_sync"]
    list_editable = ["auto_sync"]
    prepopulated_fields = {"slug": ["title"]}
    autocomplete_fields = ["images"]
