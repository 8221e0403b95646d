"""Experiments, their trials, and what these measured."""

import sqlalchemy as sa
from alembic import op
from pacesetter_service.database.types import JsonText, UtcDateTime, utc_now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_experiments()
    _create_trials()
    op.create_table(
        "trial_points",
        sa.Column("trial", sa.String(length=40), nullable=False),
        sa.Column("lease", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial"], ["trials.id"], name=op.f("fk_trial_points_trial_trials"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial", "lease", "first", name=op.f("pk_trial_points")),
    )


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("proxy", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("strategy_parameters", JsonText(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("planned", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.BigInteger(), nullable=False),
        sa.Column("sated", sa.Boolean(), nullable=False),
        sa.Column("due_since", UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_experiments_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index(
        "ix_experiments_listing", "experiments", ["project", "created_at", "id"], unique=False
    )
    op.create_index("ix_experiments_due_since", "experiments", ["due_since"], unique=False)
    op.create_index("ix_experiments_status", "experiments", ["status"], unique=False)


def _create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("experiment", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("proxy", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("parameters", JsonText(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("numbers", JsonText(), nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("leases", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=200), nullable=True),
        sa.Column("lease_token", sa.String(length=100), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("points_through", sa.BigInteger(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("metrics", JsonText(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("job", sa.String(length=200), nullable=True),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("flops", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("curve", sa.String(length=40), nullable=True),
        sa.Column("curve_due_since", UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.id"],
            name=op.f("fk_trials_experiment_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_trials_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("experiment", "number", name=op.f("uq_trials_experiment_number")),
    )
    for name, columns in _TRIAL_INDEXES.items():
        op.create_index(name, "trials", columns, unique=False)


_TRIAL_INDEXES = {
    "ix_trials_waiting": ["project", "status", "created_at", "number"],
    "ix_trials_leases": ["status", "lease_expires_at"],
    "ix_trials_curve_due_since": ["curve_due_since"],
}


def downgrade() -> None:
    for table in ("trial_points", "trials", "experiments"):
        op.drop_table(table)
