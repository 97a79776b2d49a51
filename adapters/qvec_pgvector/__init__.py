"""PostgreSQL with pgvector, for qvec."""
