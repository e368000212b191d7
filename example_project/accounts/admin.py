from __future__ import annotations

from django.contrib import admin

from accounts.models import Profile, Subscription


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):
    list_display = ["display_name", "user", "created_at"]
    list_select_related = ["user"]
    search_fields = ["display_name", "user__email"]


@admin.register(Subscription)
class SubscriptionAdmin(admin.ModelAdmin):
    list_display = ["user", "mailing_list", "subscribed_at"]
    list_select_related = ["user"]
    list_filter = ["mailing_list"]
