"""Assertions about what is in the database and about the SQL that led there.

They look at the database through a connection of their own: an object that a session has not
flushed is not there yet, and one that is stale in a session does not make them pass. None of
them flushes or commits anything, unless it says so.
"""

from __future__ import annotations

from .base import Block_co, Outcome_co
from .changes import ChangeAssertions
from .commits import CommitAssertions
from .constraints import ConstraintAssertions
from .loading import LoadingAssertions
from .models import ModelAssertions
from .pending import AsyncBlock, PendingAssertion, PendingCall, refuse_unused
from .plans import PlanAssertions
from .queries import QueryAssertions
from .rows import RowAssertions
from .schema import SchemaAssertions

__all__ = [
    "AsyncBlock",
    "DatabaseAssertions",
    "PendingAssertion",
    "PendingCall",
    "refuse_unused",
]


class DatabaseAssertions(
    RowAssertions[Outcome_co, Block_co],
    LoadingAssertions[Outcome_co, Block_co],
    ModelAssertions[Outcome_co, Block_co],
    ChangeAssertions[Outcome_co, Block_co],
    CommitAssertions[Outcome_co, Block_co],
    ConstraintAssertions[Outcome_co, Block_co],
    PlanAssertions[Outcome_co, Block_co],
    QueryAssertions[Outcome_co, Block_co],
    SchemaAssertions[Outcome_co, Block_co],
):
    """The assertions of both test cases; those of the async one have to be awaited."""
