"""The engines and session factories of the application."""

import os
from collections.abc import AsyncIterator, Iterator

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

DATABASE = os.environ.get("BOOKSHOP_DATABASE", "bookshop@db.production.invalid/bookshop")

engine = create_engine(f"postgresql+psycopg://{DATABASE}")
SessionLocal = sessionmaker(engine)

async_engine = create_async_engine(f"postgresql+asyncpg://{DATABASE}")
AsyncSessionLocal = async_sessionmaker(async_engine, expire_on_commit=False)


def get_db() -> Iterator[Session]:
    """Give a request its session; what it has not committed is lost, as it should be."""
    with SessionLocal() as session:
        yield session


async def get_async_db() -> AsyncIterator[AsyncSession]:
    """Do for async routes what ``get_db`` does for the others."""
    async with AsyncSessionLocal() as session:
        yield session
