"""The ``qvec`` command, its subcommands loaded when they are asked for, and what becomes of errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from qvec.cli import INTERRUPTED
from qvec.errors import QvecError

# What a shell reports for a program that SIGPIPE ended.
_PIPE_CLOSED = 141

COMMANDS = {
    "index": ("qvec.cli.index", "Index a folder of code and text, or JSON lines."),
    "search": ("qvec.cli.search", "Search a collection by meaning and by keyword."),
    "collections": ("qvec.cli.collections", "List the collections of a database."),
    "describe": ("qvec.cli.collections", "Show a collection's model, shape and size."),
    "delete": ("qvec.cli.delete", "Delete documents, or a whole collection."),
    "eval": ("qvec.cli.evaluate", "Measure retrieval quality on judged queries."),
    "tune": ("qvec.cli.tune", "Measure an index's recall against its speed, and choose."),
    "migrate": ("qvec.cli.migrate", "Search tables where they stand, and copy from store to store."),
    "doctor": ("qvec.cli.doctor", "Tell what is installed, configured and reachable."),
    "bench": ("qvec.cli.bench", "Measure how fast models run here."),
    "completion": ("qvec.cli.completion", "Print the shell's completion script."),
}


class Failure(click.ClickException):
    """A QvecError on its way out: its message alone, exit code 1."""

    def show(self, file: object = None) -> None:
        click.echo(f"qvec: {self.message}", err=True)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run or completed, not to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # eval is a builtin's name.
        name = "evaluate" if cmd_name == "eval" else cmd_name
        command = getattr(import_module(COMMANDS[cmd_name][0]), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except QvecError as exc:
            raise Failure(str(exc)) from exc
        except BrokenPipeError:
            _silence_stdout()
            ctx.exit(_PIPE_CLOSED)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qvec", prog_name="qvec")
def cli() -> None:
    """Semantic, hybrid and cross-lingual search over the databases people already have.

    \b
      qvec index ~/src/project
      qvec search "where are retries handled"
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(list(arguments), prog_name="qvec", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("qvec: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return _PIPE_CLOSED
    return code if isinstance(code, int) else 0


def _silence_stdout() -> None:
    """Point stdout nowhere: Python flushes it once more at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
