"""Heroes and teams: a FastAPI application with SQLModel, after SQLModel's tutorial."""

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine, select

DATABASE = os.environ.get("HEROES_DATABASE", "heroes@db.production.invalid/heroes")

engine = create_engine(f"postgresql+psycopg://{DATABASE}")


class Team(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=50, unique=True)
    heroes: list["Hero"] = Relationship(back_populates="team")


class HeroBase(SQLModel):
    name: str = Field(max_length=50)
    age: int | None = None
    team_id: int | None = Field(default=None, foreign_key="team.id")


class Hero(HeroBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    team: Team | None = Relationship(back_populates="heroes")


class HeroShown(HeroBase):
    id: int


class HeroChanged(SQLModel):
    name: str | None = None
    age: int | None = None
    team_id: int | None = None


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


Database = Annotated[Session, Depends(get_session)]
app = FastAPI()


@app.post("/heroes", response_model=HeroShown)
def create_hero(new: HeroBase, session: Database) -> Hero:
    hero = Hero.model_validate(new)
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero


@app.get("/heroes", response_model=list[HeroShown])
def read_heroes(session: Database, offset: int = 0, limit: int = 100) -> list[Hero]:
    return list(session.exec(select(Hero).order_by(Hero.name).offset(offset).limit(limit)))


@app.patch("/heroes/{hero_id}", response_model=HeroShown)
def update_hero(hero_id: int, changes: HeroChanged, session: Database) -> Hero:
    hero = session.get(Hero, hero_id)
    if hero is None:
        raise HTTPException(404)
    hero.sqlmodel_update(changes.model_dump(exclude_unset=True))
    session.commit()
    session.refresh(hero)
    return hero


@app.delete("/teams/{team_id}", status_code=204)
def delete_team(team_id: int, session: Database) -> None:
    team = session.get(Team, team_id)
    if team is None:
        raise HTTPException(404)
    session.delete(team)
    session.commit()
