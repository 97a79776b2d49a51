"""LlamaIndex's nodes as qvec's records and back, nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from pydantic_core import PydanticSerializationError

from qvec import types
from qvec.errors import InvalidInputError
from qvec.integrations.metadata import NOTES, notes_of, pack, unpack

ID = f"{NOTES}.id"
"""The field of a record that holds its node's id."""
SOURCE = f"{NOTES}.ref_doc_id"
"""The field of a record that holds the id of the document that its node was cut from."""
EMPTY = f"{NOTES}.empty"
"""The field of a record that lists the metadata keys whose values are empty."""

_KINDS: dict[str, Any] = {
    kind.class_name(): kind for kind in (TextNode, ImageNode, IndexNode, Node, Document, ImageDocument)
}
_OWN = {"id_", "embedding", "metadata", "text"}


def to_record(node: BaseNode) -> types.Document:
    """Write a node as a record.

    Raises:
        InvalidInputError: its metadata, or that of a node to which it is related, holds what cannot be kept.
    """
    try:
        form = node.model_dump(mode="json", exclude=_OWN)
    except PydanticSerializationError as exc:
        raise InvalidInputError(f"node {node.node_id!r} cannot be kept, nor what its metadata holds: {exc}") from exc
    form.pop("class_name", None)
    if isinstance(form.get("text_resource"), dict):
        form["text_resource"]["text"] = None
    notes: dict[str, types.Value] = {
        "id": node.node_id,
        "ref_doc_id": node.ref_doc_id,
        "empty": [key for key, value in node.metadata.items() if value in ("", [])],
        "kind": node.class_name(),
        "keys": list(node.metadata),  # the order of metadata is part of a node's hash; PostgreSQL's jsonb loses it
        "node": [form],  # in a list, where no database looks for fields to index
    }
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    return types.Document(node.node_id, text, pack(node.metadata, notes), source=node.ref_doc_id or "")


def to_node(record: types.Document) -> BaseNode:
    """Make the node that was written; of a record that LlamaIndex did not write, a text node."""
    notes = notes_of(record.metadata)
    metadata = unpack(record.metadata)
    if "node" not in notes:
        return _text_node(record, metadata)
    metadata = {key: metadata[key] for key in cast("list[str]", notes["keys"])}
    [form] = cast("list[Mapping[str, object]]", notes["node"])
    kind = _KINDS.get(str(notes["kind"]), TextNode)
    node: BaseNode = kind.from_dict({**form, "id_": record.id, "metadata": metadata})
    text = form.get("text_resource")
    if isinstance(node, TextNode):
        node.text = record.text
    elif isinstance(text, dict) and isinstance(node, Node) and node.text_resource is not None:
        node.text_resource.text = record.text
    return node


def _text_node(record: types.Document, metadata: dict[str, object]) -> TextNode:
    node = TextNode(id_=record.id, text=record.text, metadata=metadata)
    if record.source != record.id:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=record.source)
    return node
