"""`completion`: the script that completes commands in a shell."""

from __future__ import annotations

import click

from pipeline.cli.options import Choice

_PROGRAM = "dailies"


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the script with which SHELL (bash, zsh or fish) completes commands, options and files after Tab.

    \b
    bash  echo 'eval "$(dailies completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(dailies completion zsh)"' >> ~/.zshrc
    fish  dailies completion fish > ~/.config/fish/completions/dailies.fish
    """
    from click.shell_completion import get_completion_class

    from pipeline.cli.main import main

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"There is no script for {shell}.")
    click.echo(script(main, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source())
