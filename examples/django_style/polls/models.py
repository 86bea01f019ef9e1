"""The models, and the engine that they are kept with."""

from __future__ import annotations

import os
from datetime import datetime

from sqlalchemy import ForeignKey, String, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

DATABASE = os.environ.get("POLLS_DATABASE", "polls@db.production.invalid/polls")

engine = create_engine(f"postgresql+psycopg://{DATABASE}")
SessionLocal = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Question(Base):
    __tablename__ = "questions"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    published: Mapped[datetime] = mapped_column(server_default=func.now())
    choices: Mapped[list[Choice]] = relationship(back_populates="question", order_by="Choice.id")


class Choice(Base):
    __tablename__ = "choices"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    votes: Mapped[int] = mapped_column(default=0)
    question_id: Mapped[int] = mapped_column(ForeignKey("questions.id"))
    question: Mapped[Question] = relationship(back_populates="choices")
