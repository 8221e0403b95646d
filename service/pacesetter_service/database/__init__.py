"""Tables, migrations and the two stores."""

from pacesetter_service.database.migrate import check_schema, latest_revision, migrate
from pacesetter_service.database.opening import open_store
from pacesetter_service.database.store import Store, Transaction

__all__ = [
    "Store",
    "Transaction",
    "check_schema",
    "latest_revision",
    "migrate",
    "open_store",
]
