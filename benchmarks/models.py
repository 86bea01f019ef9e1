"""The schema and the work that every benchmarked test case shares: ten tables, three rows."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


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
