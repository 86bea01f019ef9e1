"""What the bookshop refuses to do, and the HTTP status that says so."""


class BookshopError(Exception):
    """Base of all refusals."""

    status_code = 400


class UnknownError(BookshopError):
    """The request names something that is not there."""

    status_code = 404


class DuplicateError(BookshopError):
    """Something like this is there already."""

    status_code = 409


class OutOfStockError(BookshopError):
    """There are not enough copies of a book."""

    status_code = 409
