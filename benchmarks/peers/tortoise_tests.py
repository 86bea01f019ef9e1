"""Tests with what Tortoise ORM has for them, since it gave its test classes up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tortoise import fields
from tortoise.contrib.test import TortoiseContext, truncate_all_models
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks.peers.timing import TESTS, URL

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Author(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)

    class Meta:
        table = "author"


def _article(number: int) -> Any:
    attributes = {
        "__module__": __name__,
        "id": fields.IntField(primary_key=True),
        "title": fields.CharField(max_length=50),
        "author": fields.ForeignKeyField("models.Author", related_name=False),
        "Meta": type("Meta", (), {"table": f"article_{number}"}),
    }
    return type(f"Article{number}", (Model,), attributes)


ARTICLES = [_article(number) for number in range(9)]
globals().update({model.__name__: model for model in ARTICLES})  # where Tortoise looks for them


async def work() -> None:
    """Add three rows, commit, and read two of them."""
    article = ARTICLES[0]
    async with in_transaction():
        author = await Author.create(name="a")
        await article.bulk_create([article(title=title, author=author) for title in "xy"])
    assert len(await article.filter(author=author)) == 2


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def tables() -> AsyncIterator[None]:
    async with TortoiseContext() as context:
        await context.init(db_url=URL, modules={"models": [__name__]})
        await context.generate_schemas()
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def emptied(tables: None) -> AsyncIterator[None]:
    yield
    await truncate_all_models()


@pytest.mark.parametrize("_", TESTS)
async def test_truncate_all_models(emptied: None, _: int) -> None:
    await work()
