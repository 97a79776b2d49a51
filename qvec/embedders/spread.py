"""One model on several devices: a process for each, which alone lets their hosts' work run at the same time."""

from __future__ import annotations

import multiprocessing
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from qvec.embedder import Embedder
from qvec.embedders.inputs import check_texts
from qvec.errors import ConfigError, EmbeddingError, QvecError, TextTooLongError
from qvec.types import Vectors

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_STOP_SECONDS = 10


class SpreadEmbedder(Embedder):
    """Embed with a copy of a `TransformerEmbedder` on each of several devices.

    Its processes hold the devices' memory until it is closed, by ``with`` or `close`, or gone. They import the main
    module anew, so a script that makes one does so under ``if __name__ == "__main__":``.
    """

    def __init__(
        self,
        model: str,
        devices: Sequence[str],
        *,
        dim: int | None = None,
        dtype: str | None = None,
        instruction: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Start a process for each device and load the model there.

        Args:
            model: a folder or a Hugging Face name.
            devices: such as ``["cuda:0", "cuda:1"]``; ``"cpu"`` several times shares out the CPU's cores.
            dim: width to cut to; None keeps the model's.
            dtype: as in `TransformerEmbedder`.
            instruction: the queries' default instruction.
            max_tokens: a window narrower than the model's own.

        Raises:
            ConfigError: no device is named, or an argument is out of range.
            EmbeddingError: the model cannot be loaded on a device.
        """
        if not devices:
            raise ConfigError("no device named: give one or more, such as ['cuda:0', 'cuda:1']")
        options = {"dim": dim, "dtype": dtype, "instruction": instruction, "max_tokens": max_tokens}
        self.model_id = model
        self._workers: list[_Worker] = []
        self._finish = weakref.finalize(self, _close_all, self._workers)
        on_cpu = sum(device == "cpu" for device in devices)
        threads = max(1, (os.cpu_count() or 1) // on_cpu) if on_cpu > 1 else None
        try:
            self._workers += [_Worker(model, {**options, "device": device, "threads": threads}) for device in devices]
            told = [worker.receive() for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.revision, self.dim, self.max_tokens, self.pooling, self.prompt_digest = told[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the processes."""
        self._finish()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as a document's, prefix and special tokens included."""
        counted: list[int] = self._workers[0].ask("count_tokens", check_texts(texts), {})
        return counted

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            TextTooLongError: a text is over `max_tokens`.
            EmbeddingError: a text cannot be embedded, memory does not suffice, or a process died.
        """
        return self._encode("encode_document", check_texts(texts), {})

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries with an instruction.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            InvalidInputError: the instruction names nothing, or the model takes none.
            TextTooLongError: a query is over `max_tokens`, its instruction included.
            EmbeddingError: a query cannot be embedded, memory does not suffice, or a process died.
        """
        return self._encode("encode_query", check_texts(texts), {"instruction": instruction})

    def _encode(self, method: str, texts: list[str], options: Mapping[str, object]) -> Vectors:
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        # Dealt out longest first, each device gets about the same work.
        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        shares = [order[start :: len(self._workers)] for start in range(len(self._workers))]
        with ThreadPoolExecutor(len(self._workers)) as threads:
            running = [
                (share, threads.submit(worker.ask, method, [texts[at] for at in share], options))
                for worker, share in zip(self._workers, shares, strict=True)
                if share
            ]
            too_long: dict[int, int] = {}
            for share, found in running:
                try:
                    rows[share] = found.result()
                except TextTooLongError as exc:
                    too_long |= {share[at]: length for at, length in exc.lengths.items()}
        if too_long:
            raise TextTooLongError(dict(sorted(too_long.items())), self.max_tokens)
        return rows


def _close_all(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.close()


class _TooLong(NamedTuple):
    lengths: dict[int, int]
    limit: int


class _Worker:
    """A process with a model, asked by one thread at a time."""

    def __init__(self, model: str, options: Mapping[str, object]) -> None:
        # A forked child cannot use CUDA.
        context = multiprocessing.get_context("spawn")
        self._place = str(options["device"])
        self._turn = threading.Lock()
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, model, dict(options)), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, method: str, texts: list[str], options: Mapping[str, object]) -> Any:
        with self._turn:
            try:
                self._connection.send((method, texts, dict(options)))
            except OSError as exc:
                raise self._lost() from exc
            return self.receive()

    def receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as exc:
            raise self._lost() from exc
        if isinstance(answer, _TooLong):
            raise TextTooLongError(answer.lengths, answer.limit)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _lost(self) -> EmbeddingError:
        return EmbeddingError(f"the process for {self._place} has ended, perhaps for lack of memory: make a new one")


def _serve(connection: Connection, model: str, options: dict[str, Any]) -> None:
    """Load a model, tell about it, and answer until the other end is closed."""
    from qvec.embedders.transformer import TransformerEmbedder

    if options["threads"] is not None:
        import torch

        torch.set_num_threads(options["threads"])
    try:
        embedder = TransformerEmbedder(
            model,
            device=options["device"],
            dim=options["dim"],
            dtype=options["dtype"],
            instruction=options["instruction"],
            max_tokens=options["max_tokens"],
        )
    except QvecError as exc:
        connection.send(_portable(exc))
        return
    about = (embedder.revision, embedder.dim, embedder.max_tokens, embedder.pooling, embedder.prompt_digest)
    connection.send(about)
    while True:
        try:
            method, texts, chosen = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = getattr(embedder, method)(texts, **chosen)
        except QvecError as exc:
            answer = _portable(exc)
        connection.send(answer)


def _portable(error: QvecError) -> QvecError | _TooLong:
    """Return an error in a form that survives the way to another process; its arguments alone may not."""
    return _TooLong(error.lengths, error.limit) if isinstance(error, TextTooLongError) else error
