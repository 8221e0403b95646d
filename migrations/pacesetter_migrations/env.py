"""Alembic's environment: runs on the connection that the service hands over."""

from alembic import context
from pacesetter_service.database.models import Base
from sqlalchemy import Connection

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("no connection; migrate with `pacesetter-server migrate`")
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter most of a table in place: batch mode copies it.
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
