from __future__ import annotations

from django.apps import AppConfig

from tests.testapp import clock

clock.set_wrong()


class TestappConfig(AppConfig):
    name = "tests.testapp"
    label = "testapp"
    default_auto_field = "django.db.models.BigAutoField"
