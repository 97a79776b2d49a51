"""Vector search for the databases people already have."""
