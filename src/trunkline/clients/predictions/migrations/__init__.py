"""The steps by which the prediction log's schema came to be, run in order by Alembic."""
