"""The schema: up from empty on both databases, once, and never down by an older release."""

import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.database import check_schema, latest_revision, migrate, open_store
from pacesetter_service.database.migrate import _configuration
from pacesetter_service.database.models import Base
from pacesetter_service.errors import SchemaTooNew, StorageError
from sqlalchemy import Engine, inspect, text

from tests.service.storage.conftest import unheard

_OLD_JOB = text(
    """
    INSERT INTO jobs (id, external_id, name, status, project, authority, spec, tags, strategy, strategy_version,
        strategy_parameters, overhead_cap, state, overridden, reduced_through, running, draws, due_event, last_event,
        last_seq, main_position, session_number)
    VALUES (:status, :status, :status, :status, 'default', 'steer', '{}', '{}', 'fixed', 1,
        '{}', 0.1, '{}', false, 0, 0, 0, 0, 0, 0, 0, 0)
    """
)
"""A job as the first release kept it."""


@pytest.fixture
def engine(empty_database_url: str) -> Engine:
    return open_store(empty_database_url, unheard).engine


def test_an_empty_database_is_brought_to_the_models(engine: Engine) -> None:
    assert migrate(engine) == latest_revision()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    before = inspect(engine).get_table_names()
    assert migrate(engine) == latest_revision()
    assert inspect(engine).get_table_names() == before
    check_schema(engine)
    engine.dispose()


def test_jobs_that_ended_before_there_were_curves_are_made_curves_of(engine: Engine) -> None:
    with engine.begin() as connection:
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        connection.execute(text("INSERT INTO projects (name) VALUES ('default')"))
        for status in ("completed", "failed", "lost", "cancelled", "running"):
            connection.execute(_OLD_JOB, {"status": status})
    migrate(engine)
    with engine.connect() as connection:
        waiting = connection.execute(
            text("SELECT status FROM jobs WHERE unrecorded_since IS NOT NULL ORDER BY status")
        )
        assert list(waiting.scalars()) == ["completed", "failed", "lost"]
    engine.dispose()


def test_several_processes_may_migrate_at_once(empty_database_url: str) -> None:
    failures: list[BaseException] = []

    def one() -> None:
        engine = open_store(empty_database_url, unheard).engine
        try:
            migrate(engine)
        except BaseException as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


async def test_a_newer_schema_is_left_alone(engine: Engine, empty_database_url: str) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (migrate, check_schema):
        with pytest.raises(SchemaTooNew, match="9999"):
            refused(engine)
    engine.dispose()
    with pytest.raises(SchemaTooNew):
        await Controller.open(empty_database_url, ControllerOptions(planning=False))


def test_an_empty_schema_is_too_old_where_nobody_may_migrate(engine: Engine) -> None:
    with pytest.raises(StorageError) as error:
        check_schema(engine)
    assert error.value.code == "SCHEMA_TOO_OLD"
    engine.dispose()
