"""Invoices and what has been paid, in a database whose schema is migrated by Alembic."""
