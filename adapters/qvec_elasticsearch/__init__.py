"""Elasticsearch, for qvec: a server of 8.12 or later, by URI."""

from qvec.errors import MissingDriverError

try:
    import elasticsearch as _driver
    import orjson as _json
except ImportError as exc:
    raise MissingDriverError(exc.name or "elasticsearch", "elasticsearch") from exc

from qvec_elasticsearch.adapter import ElasticsearchAdapter

__all__ = ["ElasticsearchAdapter"]

del _driver, _json
