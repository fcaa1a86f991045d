"""What Alembic runs to migrate: the connection and its transaction are the caller's."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="schema_version")
context.run_migrations()
