"""How a release's first windows were, in numbers: one row a release and environment."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table; the monitor fills it while the log holds these windows."""
    op.create_table(
        "begun",
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
