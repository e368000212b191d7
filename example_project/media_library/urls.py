from __future__ import annotations

from django.urls import path

from media_library import views

urlpatterns = [
    path("", views.gallery_list, name="gallery-list"),
    path("galleries/<slug:slug>/", views.gallery_detail, name="gallery-detail"),
    path("upload/", views.upload, name="upload"),
]
