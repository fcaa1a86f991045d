"""What the monitor remembers of a release, wherever it runs: what it asked itself, and how its first windows were."""

from typing import TypeVar

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql, sqlite

from trunkline.clients.predictions import connection
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import asked, begun
from trunkline.records.monitoring import Asked, Begun

Remembered = TypeVar("Remembered", Asked, Begun)
_TABLES: dict[type[Asked] | type[Begun], sa.Table] = {Asked: asked, Begun: begun}


def remember(database: Database, release: str, environment: str, found: Asked | Begun) -> None:
    """Keep it in place of what was kept before; of two at once, one stays.

    Raises:
        connection.Unreachable: not now.
    """
    table = _TABLES[type(found)]
    insert = postgresql.insert if database.engine.dialect.name == "postgresql" else sqlite.insert
    row = insert(table).values(release=release, environment=environment, content=found.text())
    with connection.transaction(database.engine) as open_:
        # Deleted and written anew, it would be refused where another process has just written the first one.
        open_.execute(
            row.on_conflict_do_update(index_elements=table.primary_key, set_={"content": row.excluded.content})
        )


def remembered(database: Database, release: str, environment: str, kind: type[Remembered]) -> Remembered | None:
    """What was kept the last time; None where nothing was, or another version of Trunkline wrote it.

    Raises:
        connection.Unreachable: not now.
    """
    table = _TABLES[kind]
    query = sa.select(table.c.content).where(table.c.release == release, table.c.environment == environment)
    with connection.transaction(database.engine, reads=True) as open_:
        content = open_.execute(query).scalar()
    try:
        return None if content is None else kind.model_validate_json(content)
    except ValidationError:
        return None
