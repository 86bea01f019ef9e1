"""What the library's readers can do."""

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue

from .models import Book, Lending, Loan, db

views = Blueprint("views", __name__)


@views.get("/books")
def list_books() -> ResponseReturnValue:
    books = db.session.scalars(db.select(Book).order_by(Book.title))
    return jsonify([{"id": book.id, "title": book.title} for book in books])


@views.post("/books/<int:book_id>/loan")
def lend(book_id: int) -> ResponseReturnValue:
    book = db.get_or_404(Book, book_id)
    if book.loan is not None:
        abort(409)
    db.session.add_all([Loan(book=book, reader=request.form["reader"]), Lending(title=book.title)])
    db.session.commit()
    return "", 204


@views.delete("/books/<int:book_id>/loan")
def take_back(book_id: int) -> ResponseReturnValue:
    db.session.delete(db.get_or_404(Loan, book_id))
    db.session.commit()
    return "", 204
