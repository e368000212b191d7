from __future__ import annotations

from django import forms

from media_library.models import MediaItem


class UploadForm(forms.ModelForm):
    class Meta:
        model = MediaItem
        fields = ["title", "image"]
