"""A lending library: a Flask application with Flask-SQLAlchemy and an application factory."""

import os
from typing import Any

from flask import Flask

from .models import db
from .views import views

DATABASE = os.environ.get("LIBRARY_DATABASE", "library@db.production.invalid/library")
STATISTICS = os.environ.get("LIBRARY_STATISTICS", "library@db.production.invalid/statistics")


def create_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"postgresql+psycopg://{DATABASE}"
    app.config["SQLALCHEMY_BINDS"] = {"statistics": f"postgresql+psycopg://{STATISTICS}"}
    app.config.update(config)
    db.init_app(app)
    app.register_blueprint(views)
    return app
