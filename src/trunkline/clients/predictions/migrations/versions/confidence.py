"""How sure the model was of each answer."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of what is there it is not known."""
    op.add_column("outcome", sa.Column("confidence", sa.Double))
