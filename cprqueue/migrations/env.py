"""Alembic's entry: runs migrations on the connection that ``store.schema`` hands over."""

from __future__ import annotations

from alembic import context

from cprqueue.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
