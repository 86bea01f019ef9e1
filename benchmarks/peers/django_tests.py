"""Tests of Django's own, whose base classes ours are named after."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from sqlalchemy import make_url

from benchmarks.peers.timing import TESTS, URL

_URL = make_url(URL)
_ENGINE = {"postgresql": "postgresql", "sqlite": "sqlite3"}[_URL.get_backend_name()]

settings.configure(
    INSTALLED_APPS=["benchmarks.peers.django_app"],
    DATABASES={
        "default": {
            "ENGINE": f"django.db.backends.{_ENGINE}",
            "NAME": _URL.database or ":memory:",
            "HOST": _URL.host or "",
            "PORT": _URL.port or "",
            "USER": _URL.username or "",
            "PASSWORD": _URL.password or "",
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()

from django.db import connection, transaction  # noqa: E402
from django.test import TestCase, TransactionTestCase  # noqa: E402

from benchmarks.peers.django_app.models import ARTICLES, Author  # noqa: E402


def setUpModule() -> None:
    with connection.schema_editor() as editor:
        for model in [Author, *ARTICLES]:
            editor.create_model(model)


def tearDownModule() -> None:
    with connection.schema_editor() as editor:
        for model in [*ARTICLES, Author]:
            editor.delete_model(model)
    connection.close()


def work() -> None:
    """Add three rows, commit, and read two of them."""
    article = ARTICLES[0]
    with transaction.atomic():
        author = Author.objects.create(name="a")
        article.objects.bulk_create([article(title=title, author=author) for title in "xy"])
    assert len(article.objects.filter(author=author)) == 2


def _test(self: Any) -> None:
    work()


class Transaction(TestCase):
    """Everything is rolled back."""


class Flush(TransactionTestCase):
    """All tables are emptied."""


for _number in TESTS:
    setattr(Transaction, f"test_TestCase_{_number}", _test)
    setattr(Flush, f"test_TransactionTestCase_{_number}", _test)
