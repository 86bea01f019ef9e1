"""The schemas and the work that the benchmarked test cases share."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """Ten tables."""


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


def _article(number: int) -> type[Base]:
    columns = {
        "__tablename__": f"article_{number}",
        "__annotations__": {"id": Mapped[int], "title": Mapped[str], "author_id": Mapped[int]},
        "id": mapped_column(primary_key=True),
        "title": mapped_column(String(50)),
        "author_id": mapped_column(ForeignKey("author.id"), index=True),
    }
    return type(f"Article{number}", (Base,), columns)


ARTICLES = [_article(number) for number in range(9)]


def work(session: Session) -> None:
    """Add three rows, commit, and read two of them."""
    author = Author(name="a")
    session.add(author)
    session.flush()
    key = author.id
    article = ARTICLES[0]
    session.add_all([article(title="x", author_id=key), article(title="y", author_id=key)])
    session.commit()
    assert len(session.scalars(select(article).filter_by(author_id=key)).all()) == 2


async def work_async(session: AsyncSession) -> None:
    """The same with an ``AsyncSession``."""
    author = Author(name="a")
    session.add(author)
    await session.flush()
    key = author.id
    article = ARTICLES[0]
    session.add_all([article(title="x", author_id=key), article(title="y", author_id=key)])
    await session.commit()
    assert len((await session.scalars(select(article).filter_by(author_id=key))).all()) == 2


@cache
def note(rows: int) -> Any:
    """Return a model, in a schema of its own, for a table that is to have so many rows."""

    class NoteBase(DeclarativeBase):
        pass

    class Note(NoteBase):
        __tablename__ = f"note_{rows}"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(String(50))

    return Note


def take_note(session: Session, model: Any) -> None:
    """Add a row, commit, and read it."""
    added = model(text="x")
    session.add(added)
    session.commit()
    assert session.scalars(select(model).filter_by(id=added.id)).one() is added


def tables(count: int) -> MetaData:
    """Return so many tables, each of which refers to the one before it."""
    metadata = MetaData()
    for number in range(count):
        Table(
            f"table_{number}",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(50), unique=True),
            Column("parent", ForeignKey(f"table_{max(number - 1, 0)}.id")),
        )
    return metadata
