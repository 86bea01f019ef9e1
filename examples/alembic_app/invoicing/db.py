"""The engine of the application."""

import os

from sqlalchemy import create_engine

DATABASE = os.environ.get("INVOICING_DATABASE", "invoicing@db.production.invalid/invoicing")

engine = create_engine(f"postgresql+psycopg://{DATABASE}")
