"""Shadows: predictions that name the one whose request they mirror."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; all that is there was served."""
    op.add_column("assignment", sa.Column("shadow_of", sa.String(36)))
