"""Experiments whose proxy checks coordinates once their trials have ended, by an experiment of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("coordinates", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("experiments", "coordinates")
