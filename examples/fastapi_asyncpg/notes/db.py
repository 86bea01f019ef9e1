"""The engine and the session factory of the application."""

import os
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

DATABASE = os.environ.get("NOTES_DATABASE", "notes@db.production.invalid/notes")

engine = create_async_engine(f"postgresql+asyncpg://{DATABASE}", pool_size=5)
SessionLocal = async_sessionmaker(engine, expire_on_commit=False)


async def get_db() -> AsyncIterator[AsyncSession]:
    """Give a request its session, and commit if the request was successful."""
    async with SessionLocal.begin() as session:
        yield session
