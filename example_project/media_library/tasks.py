from __future__ import annotations

from django_jobs import JobCancelledError, task
from media_library.models import GalleryPage, MediaItem
from media_library.thumbnails import make_thumbnail


@task(slug="sync-media", label="Sync media to galleries", queue="media", retries=3)
def sync_media(media_id: int) -> dict[str, int]:
    """Make the thumbnails of an image and add it to every page with auto-sync on."""
    item = MediaItem.objects.filter(pk=media_id).first()
    if item is None:
        raise JobCancelledError(f"Image {media_id} was deleted before its turn came.")
    store_thumbnails(item)
    pages = GalleryPage.objects.filter(auto_sync=True)
    # A job runs at least once, so it is written to be run twice: adding again changes nothing.
    item.pages.add(*pages)
    return {"pages_updated": len(pages)}


def store_thumbnails(item: MediaItem) -> None:
    thumbnail = make_thumbnail(item.image, 240)
    preview = make_thumbnail(item.image, 960)
    # update(), not save(): the job must not undo what an editor changed in the meantime.
    MediaItem.objects.filter(pk=item.pk).update(thumbnail=thumbnail, preview=preview)
