"""Alembic migrations; ``cprqueue.store.schema.upgrade`` runs them."""
