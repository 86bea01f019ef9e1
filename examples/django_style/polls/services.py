"""What can be done with polls. Each function is a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import event, select, update
from sqlalchemy.orm import Session, joinedload

from .models import Choice, Question, SessionLocal

notify: list[Callable[[int], None]] = []  # called with the question when a vote is committed


class NoSuchChoiceError(Exception):
    pass


def ask(text: str, choices: Sequence[str]) -> Question:
    with SessionLocal.begin() as session:
        question = Question(text=text, choices=[Choice(text=choice) for choice in choices])
        session.add(question)
    return question


def vote(choice_id: int) -> None:
    with SessionLocal.begin() as session:
        choice = session.get(Choice, choice_id)
        if choice is None:
            raise NoSuchChoiceError(choice_id)
        counted = update(Choice).where(Choice.id == choice_id).values(votes=Choice.votes + 1)
        session.execute(counted)
        _on_commit(session, choice.question_id)


def results() -> dict[str, dict[str, int]]:
    with SessionLocal() as session:
        query = select(Question).options(joinedload(Question.choices)).order_by(Question.text)
        questions = session.scalars(query).unique()
        return {
            question.text: {choice.text: choice.votes for choice in question.choices}
            for question in questions
        }


def _on_commit(session: Session, question_id: int) -> None:
    @event.listens_for(session, "after_commit", once=True)
    def tell(session: Session) -> None:
        for listener in notify:
            listener(question_id)
