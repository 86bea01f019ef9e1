"""An application in miniature: its tables, its engines, and a service that commits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, String, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

# Nothing is there: whatever reaches around a redirected engine fails.
app_engine = create_engine("sqlite:////unreachable/application.db")
app_async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/application.db")


class Base(DeclarativeBase):
    type_annotation_map = {str: String(100)}  # MariaDB asks for a length


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    age: Mapped[int | None]
    posts: Mapped[list[Post]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped[User] = relationship(back_populates="posts")


class Tag(Base):
    """Without a relationship, and with a key that is no number."""

    __tablename__ = "tags"
    word: Mapped[str] = mapped_column(primary_key=True)
    color: Mapped[str | None]
    more: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON))


def register(name: str) -> None:
    """Commit a user through the application's own engine."""
    with Session(app_engine) as session:
        session.add(User(name=name))
        session.commit()


async def register_async(name: str) -> None:
    """The same through the application's async engine."""
    async with AsyncSession(app_async_engine) as session:
        session.add(User(name=name))
        await session.commit()
