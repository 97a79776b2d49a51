"""The requests with which a collection is made, as a dry run tells them."""

from __future__ import annotations

import json

from qvec.adapter import SupportsCreateSteps
from qvec.types import CollectionSpec
from qvec_milvus import schema
from qvec_milvus.connection import Connection


class Creations(SupportsCreateSteps):
    """Writes the requests of a creation; `qvec_milvus.schema` sends them."""

    _connection: Connection

    def create_steps(self, spec: CollectionSpec) -> list[str]:
        """Write the calls of Milvus' client, with their schemas as JSON."""
        with self._connection.use() as client:
            shape = schema.shape_of(self._connection, spec)
            fields = schema.schema(self._connection.driver, client, shape).to_dict()["fields"]
            indexes = schema.wanted_indexes(self._connection, client, shape)
        made = [f"create_partition {spec.name} {shape.partition}"] if shape.partition else []
        told = [index.to_dict() for index in indexes]
        return [
            f"create_collection {spec.name} {json.dumps(fields, default=str)}",
            *made,
            f"create_index {spec.name} {json.dumps(told, default=str)}",
            f"load_collection {spec.name}",
        ]
