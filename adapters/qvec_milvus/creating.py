"""The requests with which a collection is made, as a dry run tells them."""

from __future__ import annotations

import json
from abc import abstractmethod

from qvec.adapter import SupportsCreateSteps
from qvec.checks import check_spec
from qvec.types import Capabilities, CollectionSpec
from qvec_milvus import analyzers, schema
from qvec_milvus.connection import Connection


class Creations(SupportsCreateSteps):
    """Writes the requests of a creation; `qvec_milvus.schema` sends them."""

    _connection: Connection

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """As of `Adapter`."""

    def create_steps(self, spec: CollectionSpec) -> list[str]:
        """Write the calls of Milvus' client, with their schemas as JSON."""
        self._check_spec(spec)
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

    def _check_spec(self, spec: CollectionSpec) -> None:
        if spec.analyzer is not None:
            analyzers.check(self._connection, spec.analyzer, self.capabilities.database)
        check_spec(spec, self.capabilities)
