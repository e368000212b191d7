from __future__ import annotations

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from media_library.forms import UploadForm
from media_library.models import GalleryPage, MediaItem

IMAGES_SHOWN = 12


@require_safe
def gallery_list(request: HttpRequest) -> HttpResponse:
    return render_list(request, UploadForm())


@require_safe
def gallery_detail(request: HttpRequest, slug: str) -> HttpResponse:
    gallery = get_object_or_404(GalleryPage, slug=slug)
    return render(request, "media_library/gallery_detail.html", {"gallery": gallery})


@require_POST
@staff_member_required
def upload(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return render_list(request, form, status=400)
    item = form.save()
    messages.success(request, f"{item.title} is uploaded. A worker is making its thumbnails.")
    return redirect("gallery-list")


def render_list(request: HttpRequest, form: UploadForm, status: int = 200) -> HttpResponse:
    galleries = GalleryPage.objects.annotate(size=Count("images"))
    context = {
        "galleries": [(gallery, gallery.images.all()[:IMAGES_SHOWN]) for gallery in galleries],
        "waiting": MediaItem.objects.filter(thumbnail="").count(),
        "form": form,
    }
    return render(request, "media_library/gallery_list.html", context, status=status)
