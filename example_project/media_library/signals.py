from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from media_library.models import MediaItem
from media_library.tasks import sync_media


@receiver(post_save, sender=MediaItem, dispatch_uid="queue-sync-media")
def queue_sync_media(instance: MediaItem, created: bool, raw: bool, **kwargs: Any) -> None:
    """Queue the job in the transaction of the upload: it exists exactly if the image does."""
    if created and not raw:
        sync_media.enqueue(media_id=instance.pk)
