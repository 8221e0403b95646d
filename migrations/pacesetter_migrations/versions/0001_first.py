"""The first schema: jobs, their sessions, segments, events and decisions; access."""

import sqlalchemy as sa
from alembic import op
from pacesetter_service.database.types import JsonText, UtcDateTime, utc_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("fingerprint", sa.String(length=200), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("headers", JsonText(), nullable=True),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False
    )
    op.create_table(
        "projects",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hmac", sa.String(length=200), nullable=False),
        sa.Column("hint", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_api_tokens_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("hmac", name=op.f("uq_api_tokens_hmac")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("authority", sa.String(length=20), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("tags", JsonText(), nullable=False),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("strategy_version", sa.Integer(), nullable=False),
        sa.Column("strategy_parameters", JsonText(), nullable=False),
        sa.Column("overhead_cap", sa.Double(), nullable=False),
        sa.Column("state", JsonText(), nullable=False),
        sa.Column("reduced_through", sa.BigInteger(), nullable=False),
        sa.Column("running", sa.BigInteger(), nullable=False),
        sa.Column("draws", sa.BigInteger(), nullable=False),
        sa.Column("due_event", sa.BigInteger(), nullable=False),
        sa.Column("due_since", UtcDateTime(timezone=True), nullable=True),
        sa.Column("overridden", sa.Boolean(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("main_position", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=True),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column(
            "last_seen_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_jobs_project_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("project", "external_id", name=op.f("uq_jobs_project_external_id")),
    )
    op.create_index("ix_jobs_due_since", "jobs", ["due_since"], unique=False)
    op.create_index("ix_jobs_listing", "jobs", ["created_at", "id"], unique=False)
    op.create_index("ix_jobs_status_last_seen_at", "jobs", ["status", "last_seen_at"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_checkpoints_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "name", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "decisions",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sets_main", sa.Boolean(), nullable=False),
        sa.Column("draws", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("strategy_version", sa.Integer(), nullable=False),
        sa.Column("strategy_parameters", JsonText(), nullable=False),
        sa.Column("state", JsonText(), nullable=False),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_decisions_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "last_seq", name=op.f("pk_decisions")),
    )
    op.create_table(
        "events",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("reducible", sa.Boolean(), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=True),
        sa.Column("segment", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_events_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_events")),
    )
    op.create_table(
        "segments",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.Column("acknowledged_by", sa.String(length=40), nullable=True),
        sa.Column("applied_position", sa.BigInteger(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_segments_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "seq", name=op.f("pk_segments")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("nonce", sa.String(length=200), nullable=False),
        sa.Column("last_record", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=True),
        sa.Column("main_position", sa.BigInteger(), nullable=False),
        sa.Column("kept_through", sa.BigInteger(), nullable=True),
        sa.Column("ledger", JsonText(), nullable=True),
        sa.Column(
            "created_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.Column(
            "last_seen_at", UtcDateTime(timezone=True), server_default=utc_now(), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_sessions_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("job", "nonce", name=op.f("uq_sessions_job_nonce")),
        sa.UniqueConstraint("job", "number", name=op.f("uq_sessions_job_number")),
    )


def downgrade() -> None:
    for table in (
        "sessions",
        "segments",
        "events",
        "decisions",
        "checkpoints",
        "jobs",
        "api_tokens",
        "projects",
        "idempotency_keys",
    ):
        op.drop_table(table)
