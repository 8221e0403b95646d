"""Jobs that listen to the trials of an experiment, and experiments that begin with a job."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("experiment", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("told", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_jobs_experiment", "jobs", ["experiment"], unique=False)
    op.add_column("experiments", sa.Column("job", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("experiments", "job")
    op.drop_index("ix_jobs_experiment", "jobs")
    op.drop_column("jobs", "told")
    op.drop_column("jobs", "experiment")
