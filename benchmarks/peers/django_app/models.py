"""The ten tables of ``benchmarks.models``."""

from __future__ import annotations

from typing import Any

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=50)


def _article(number: int) -> Any:
    attributes = {
        "__module__": __name__,
        "title": models.CharField(max_length=50),
        "author": models.ForeignKey(Author, models.CASCADE, related_name="+"),
    }
    return type(f"Article{number}", (models.Model,), attributes)


ARTICLES = [_article(number) for number in range(9)]
