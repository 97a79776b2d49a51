"""A Milvus collection as another program makes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qvec
from qvec.uri import URI

ROWS = 300


def make(client: Any, name: str, key: str = "number", rows: int = ROWS) -> None:
    from pymilvus import DataType as kinds

    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("pk", kinds.INT64 if key == "number" else kinds.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("body", kinds.VARCHAR, max_length=2000)
    schema.add_field("lang", kinds.VARCHAR, max_length=8)
    schema.add_field("tags", kinds.ARRAY, element_type=kinds.VARCHAR, max_capacity=4, max_length=20)
    schema.add_field("about", kinds.JSON)
    schema.add_field("own", kinds.FLOAT_VECTOR, dim=4)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    index = client.prepare_index_params()
    index.add_index("own", index_type="FLAT", metric_type="L2")
    client.create_index(name, index, sync=False)
    client.load_collection(name)
    client.insert(name, [row(number, key) for number in range(rows)])


def row(number: int, key: str = "number", text: str = "") -> dict[str, object]:
    return {
        "pk": number if key == "number" else f"k'\"{number}",
        "body": text or f"article {number} about topic{number % 7}",
        "lang": "en" if number % 2 else "zh",
        "tags": ["a", f"t{number % 3}"],
        "about": {"stars": number, "inner": {"day": "2024-01-01"}},
        "own": [number / 8, 0.5, 0.0, 1.0],
        "free": f"note {number}",
    }


def content(client: Any, name: str) -> dict[object, object]:
    """All that the other program sees of its rows."""
    fields = [field["name"] for field in client.describe_collection(name)["fields"] if "qvec" not in field["name"]]
    found = client.query(name, filter="body like '%'", output_fields=[*fields, "free"], limit=1000)
    return {each["pk"]: {key: str(each[key]) for key in sorted(each) if "qvec" not in key} for each in found}


@contextmanager
def lite_client(address: str) -> Iterator[Any]:
    """Another program's connection to a Lite file, which no other process opens while this one serves it."""
    from milvus_lite.server_manager import server_manager_instance

    try:
        with qvec.connect(address) as database:
            yield database.adapter._connection.client
    finally:
        server_manager_instance.release_server(URI.parse(address).path)
