"""Settings of the suite and of the worker processes that it starts.

DATABASE_URL names the database; without it SQLite is used, in a file of its own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import environ

from tests.databases import mysql_driver

env = environ.Env()


def default_url() -> str:
    """Return the URL of a file of this process, which its threads and children can share."""
    return f"sqlite:///{tempfile.gettempdir()}/jobs-tests-{os.getpid()}.sqlite3"


def database(url: str, suffix: str = "") -> dict[str, Any]:
    """Return the stock configuration of this database; for SQLite the tests get a file too."""
    config: dict[str, Any] = dict(environ.Env.db_url_config(url))
    config["NAME"] += suffix
    if config["ENGINE"].endswith("sqlite3"):
        path = Path(config["NAME"])
        config["TEST"] = {"NAME": str(path.with_name(f"test_{path.name}"))}
    elif config["ENGINE"].endswith("mysql"):
        mysql_driver()
        config["OPTIONS"] = {"charset": "utf8mb4", **config.get("OPTIONS", {})}
        config["TEST"] = {"CHARSET": "utf8mb4"}
    return config


DATABASE_URL = env("DATABASE_URL", default="") or default_url()
OTHER_DATABASE_URL = env("OTHER_DATABASE_URL", default="")

# "other" is created only for tests that ask for it by @pytest.mark.django_db(databases=...).
DATABASES = {
    "default": database(DATABASE_URL),
    "other": (
        database(OTHER_DATABASE_URL) if OTHER_DATABASE_URL else database(DATABASE_URL, "_other")
    ),
}

# What the workers of one test are given otherwise than by default, as JSON.
DJANGO_JOBS = env.json("DJANGO_JOBS", default={})

SECRET_KEY = "tests"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_jobs",
    "tests.testapp",
]

MIDDLEWARE = [
    "tests.testapp.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
