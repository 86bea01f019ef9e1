"""The HTTP side of the application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from .db import SessionLocal, engine, get_db
from .models import BannedWord, Note, Reading, Tag

Database = Annotated[AsyncSession, Depends(get_db)]


class NewNote(BaseModel):
    text: str
    tags: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with SessionLocal() as session:
        app.state.banned = set(await session.scalars(select(BannedWord.word)))
    yield
    await engine.dispose()


app = FastAPI(title="Notes", lifespan=lifespan)


@app.post("/notes", status_code=201)
async def add_note(new: NewNote, database: Database) -> int:
    note = Note(text=new.text, tags=[Tag(word=word) for word in new.tags])
    database.add(note)
    await database.flush()
    if app.state.banned & set(new.text.split()):
        raise HTTPException(422, "this note has a banned word")
    return note.id


@app.get("/notes/{note_id}")
async def read_note(note_id: int, database: Database, later: BackgroundTasks) -> NewNote:
    note = await database.get(Note, note_id)
    if note is None:
        raise HTTPException(404)
    later.add_task(count_reading, note_id)
    return NewNote(text=note.text, tags=[tag.word for tag in note.tags])


@app.get("/numbers")
async def numbers() -> dict[str, int]:
    """Count in several tables at once, each in a session of its own."""

    async def count(model: type[Note] | type[Tag]) -> int:
        async with SessionLocal() as session:
            return await session.scalar(select(func.count()).select_from(model)) or 0

    notes, tags = await asyncio.gather(count(Note), count(Tag))
    return {"notes": notes, "tags": tags}


async def count_reading(note_id: int) -> None:
    async with SessionLocal.begin() as session:
        reading = await session.merge(Reading(note_id=note_id))
        reading.count = (reading.count or 0) + 1
