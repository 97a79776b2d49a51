"""``qvec completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
      bash:  eval "$(qvec completion bash)"            in ~/.bashrc
      zsh:   eval "$(qvec completion zsh)"             in ~/.zshrc
      fish:  qvec completion fish > ~/.config/fish/completions/qvec.fish
    """
    from click.shell_completion import get_completion_class

    from qvec.cli.app import cli

    maker = get_completion_class(shell)
    if maker is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    template = maker(cli, {}, "qvec", "_QVEC_COMPLETE")
    click.echo(template.source_template % template.source_vars())
