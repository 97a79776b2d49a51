"""How fast qvec embeds, against sentence-transformers and plain transformers on the same weights and texts."""
