"""The tables of the application."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(500))
    tags: Mapped[list[Tag]] = relationship(
        back_populates="note", lazy="selectin", order_by="Tag.word"
    )


class Tag(Base):
    __tablename__ = "tags"
    note_id: Mapped[int] = mapped_column(ForeignKey("notes.id"), primary_key=True)
    word: Mapped[str] = mapped_column(String(50), primary_key=True)
    note: Mapped[Note] = relationship(back_populates="tags")


class BannedWord(Base):
    """A word that no note may have; they are loaded when the application starts."""

    __tablename__ = "banned_words"
    word: Mapped[str] = mapped_column(String(50), primary_key=True)


class Reading(Base):
    """Counts how often a note was read."""

    __tablename__ = "readings"
    note_id: Mapped[int] = mapped_column(ForeignKey("notes.id"), primary_key=True)
    count: Mapped[int] = mapped_column(default=0)
