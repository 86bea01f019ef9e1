"""Notes with tags: an async FastAPI application on PostgreSQL."""
