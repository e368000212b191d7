from __future__ import annotations

from io import BytesIO
from pathlib import PurePosixPath

from django.core.files.base import ContentFile
from django.db.models.fields.files import ImageFieldFile
from PIL import Image, ImageOps

from media_library.models import thumbnail_storage


def make_thumbnail(original: ImageFieldFile, size: int) -> str:
    """Store a JPEG of `original` that fits a square of `size`; return its name."""
    with original.open("rb") as file, Image.open(file) as image:
        # Shrunk before it is turned: a large JPEG is then never decoded in full.
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        small = ImageOps.exif_transpose(image).convert("RGB")
    content = BytesIO()
    small.save(content, "JPEG", quality=82, optimize=True)
    name = f"{PurePosixPath(str(original)).name}-{size}.jpg"
    return thumbnail_storage().save(name, ContentFile(content.getvalue()))
