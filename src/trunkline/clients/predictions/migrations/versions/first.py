"""The first schema: assignments, outcomes, feedback and erasures."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "assignment",
        sa.Column("prediction", sa.String(36), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("customer", sa.Text),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("rollout", sa.Text),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("input", sa.Text),
        sa.Column("erased", sa.Boolean, nullable=False),
    )
    op.create_table(
        "outcome",
        sa.Column("prediction", sa.String(36), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("ttft_ms", sa.Double),
        sa.Column("tokens_in", sa.BigInteger),
        sa.Column("tokens_out", sa.BigInteger),
        sa.Column("usd", sa.Double),
        sa.Column("output", sa.Text),
        sa.Column("format_ok", sa.Boolean),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.Column("engine_model", sa.Text),
        sa.Column("engine_fingerprint", sa.Text),
        sa.Column("finish_reason", sa.Text),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("prediction", sa.String(36), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("comment", sa.Text),
    )
    op.create_table(
        "erasure",
        sa.Column("customer", sa.String(64), primary_key=True),
        sa.Column("before", sa.BigInteger, nullable=False),
    )
    op.create_index("assignment_time", "assignment", ["time"])
    op.create_index("assignment_release", "assignment", ["release", "time"])
    op.create_index("assignment_rollout", "assignment", ["rollout", "time"])
    op.create_index("assignment_customer", "assignment", ["customer"])
    op.create_index("outcome_time", "outcome", ["time"])
    op.create_index("feedback_prediction", "feedback", ["prediction"])
    op.create_index("feedback_time", "feedback", ["time"])
