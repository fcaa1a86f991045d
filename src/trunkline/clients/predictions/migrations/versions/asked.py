"""What the monitor has asked itself, and when: one row a release and environment."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table; nothing is known to have been asked."""
    op.create_table(
        "asked",
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
