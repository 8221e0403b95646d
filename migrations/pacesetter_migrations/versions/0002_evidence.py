"""What earlier runs taught: curves, laws and recommendations; budgets that change."""

import sqlalchemy as sa
from alembic import op
from pacesetter_service.database.types import JsonText, UtcDateTime, utc_now

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "projects",
        sa.Column("evidence_version", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.add_column("jobs", sa.Column("budget", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("base", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("unrecorded_since", UtcDateTime(timezone=True), nullable=True))
    op.create_index("ix_jobs_unrecorded_since", "jobs", ["unrecorded_since"], unique=False)
    # What ended before there were curves is made one of, too.
    op.execute(
        "UPDATE jobs SET unrecorded_since = last_seen_at WHERE status IN ('completed', 'failed', 'lost')"
    )
    op.create_table(
        "curves",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("job", sa.String(length=40), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("family", sa.String(length=200), nullable=False),
        sa.Column("regime", sa.String(length=20), nullable=False),
        sa.Column("optimizer", sa.String(length=200), nullable=False),
        sa.Column("record", JsonText(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column(
            "changed_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_curves_job_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_curves_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_curves")),
        sa.UniqueConstraint("job", name=op.f("uq_curves_job")),
    )
    op.create_index("ix_curves_kind", "curves", ["project", "regime", "family"], unique=False)
    op.create_index("ix_curves_listing", "curves", ["project", "created_at", "id"], unique=False)
    op.create_index("ix_curves_law", "curves", ["project", "key", "changed_at"], unique=False)
    op.create_table(
        "laws",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("family", sa.String(length=200), nullable=False),
        sa.Column("regime", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("about", JsonText(), nullable=False),
        sa.Column("law", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("evidence", JsonText(), nullable=False),
        sa.Column("seen", sa.String(length=80), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_laws_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_laws")),
        sa.UniqueConstraint("project", "key", "version", name=op.f("uq_laws_project_key_version")),
    )
    op.create_index("ix_laws_listing", "laws", ["project", "created_at", "id"], unique=False)
    op.create_table(
        "recommendations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("target", JsonText(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_recommendations_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")),
    )
    op.create_index(
        "ix_recommendations_listing",
        "recommendations",
        ["project", "created_at", "id"],
        unique=False,
    )


def downgrade() -> None:
    for table in ("recommendations", "laws", "curves"):
        op.drop_table(table)
    op.drop_index("ix_jobs_unrecorded_since", "jobs")
    op.drop_column("jobs", "unrecorded_since")
    op.drop_column("jobs", "base")
    op.drop_column("jobs", "budget")
    op.drop_column("projects", "evidence_version")
