"""What Alembic runs around the revisions of every service; the connection comes from outside."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can do so once the driver no longer commits by itself: all revisions or none.
    transactional_ddl=True,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
