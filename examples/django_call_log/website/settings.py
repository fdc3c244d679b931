"""Settings of the example: SQLite, or PostgreSQL where PGDATABASE names a database."""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for this example on loopback alone")
DEBUG = True  # so that runserver serves the admin's style sheets
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "basix_cti.contrib.django",
    "call_log",
]

# The rest comes from BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN.
BASIX_CTI = {
    "APP_NAME": "call-log",
    "FULL_EVENTS": True,
    "WAIT_FOR_DATABASE": 60,  # seconds that an event waits while the database is restarted
}

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CALL_LOG_FILE", BASE_DIR / "call_log.sqlite3"),
        "OPTIONS": {"timeout": 20},  # seconds that one process waits while another one writes
    }
}
if "PGDATABASE" in os.environ:  # its other variables, PGHOST and so on, are read by PostgreSQL's own library
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "CONN_MAX_AGE": 60,
    }

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
            ]
        },
    }
]

ROOT_URLCONF = "website.urls"
WSGI_APPLICATION = "website.wsgi.application"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "Asia/Tokyo"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
