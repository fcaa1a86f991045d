"""What the monitor asked itself the last time, which the next runs need not ask again, wherever they run."""

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql, sqlite

from trunkline.clients.predictions import connection
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import asked
from trunkline.records.monitoring import Asked


def remember(database: Database, release: str, environment: str, found: Asked) -> None:
    """Keep it in place of what was found before; of two at once, one stays.

    Raises:
        connection.Unreachable: not now.
    """
    insert = postgresql.insert if database.engine.dialect.name == "postgresql" else sqlite.insert
    row = insert(asked).values(release=release, environment=environment, content=found.text())
    with connection.transaction(database.engine) as open_:
        # Deleted and written anew, it would be refused where another process has just written the first one.
        open_.execute(
            row.on_conflict_do_update(index_elements=asked.primary_key, set_={"content": row.excluded.content})
        )


def remembered(database: Database, release: str, environment: str) -> Asked | None:
    """What was found the last time; None where nothing was, or another version of Trunkline wrote it.

    Raises:
        connection.Unreachable: not now.
    """
    query = sa.select(asked.c.content).where(asked.c.release == release, asked.c.environment == environment)
    with connection.transaction(database.engine, reads=True) as open_:
        content = open_.execute(query).scalar()
    try:
        return None if content is None else Asked.model_validate_json(content)
    except ValidationError:
        return None
