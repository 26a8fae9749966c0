"""Alembic's entry: runs migrations on the connection that ``store.schema`` hands over.

Without one it writes them as a script, in the words of the dialect that it is given.
"""

from __future__ import annotations

from alembic import context

from cprqueue.store.tables import metadata

context.configure(
    connection=context.config.attributes.get("connection"),
    dialect_name=context.config.attributes.get("dialect_name"),
    dialect_opts={"paramstyle": "named"},
    literal_binds=context.is_offline_mode(),
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
