"""PostgreSQL with pgvector, for qvec: any server by URI, or one of its own in a folder."""

from qvec.errors import MissingDriverError

try:
    import psycopg as _driver
except ImportError as exc:
    raise MissingDriverError("psycopg", "pgvector") from exc

from qvec_pgvector.adapter import PgvectorAdapter

__all__ = ["PgvectorAdapter"]

del _driver
