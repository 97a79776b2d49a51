"""Names of collections: Milvus' own, or aliases once two collections have traded theirs.

A Milvus alias cannot have a collection's name, so the first exchange renames both and puts aliases where the names
were; from then on an exchange moves aliases alone, each in one step.
"""

from __future__ import annotations

import uuid
from typing import Any


def own_name(client: Any, name: str) -> str:
    """Tell the Milvus collection behind a name, which may be an alias."""
    return str(client.describe_collection(name)["collection_name"])


def alias_of(client: Any, name: str) -> str:
    """Tell the name that a Milvus collection goes by: that of its alias where it has one."""
    aliases = client.list_aliases(collection_name=name)["aliases"]
    return str(aliases[0]) if aliases else name


def drop(client: Any, name: str) -> None:
    """Drop a collection by its name, and with it the alias that this is."""
    own = own_name(client, name)
    if own != name:
        client.drop_alias(name)
    client.drop_collection(own)


def exchange(client: Any, one: str, other: str) -> None:
    """Let two collections trade names; no name is without its collection but `one`, once, for a request's time."""
    # The one that is asked for is moved last and named again at once.
    second, first = (_behind_alias(client, name) for name in (other, one))
    for own, name in ((second, one), (first, other)):
        if name in client.list_aliases()["aliases"]:
            client.alter_alias(own, name)
        else:
            client.create_alias(own, name)
    # Lite 3.2 lets go of a collection that is renamed.
    client.load_collection(one)
    client.load_collection(other)


def steps(one: str, other: str) -> list[str]:
    """Write the requests of `exchange`."""
    return [
        f"rename the Milvus collections {one} and {other}, unless these are aliases",
        f"point the alias {one} at what {other} was",
        f"point the alias {other} at what {one} was",
    ]


def _behind_alias(client: Any, name: str) -> str:
    own = own_name(client, name)
    if own == name:
        own = f"{name}__{uuid.uuid4().hex[:8]}"
        client.rename_collection(name, own)
    return own
