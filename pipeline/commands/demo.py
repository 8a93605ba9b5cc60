"""`demo`: see it work."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Folder for everything that it keeps.",
)
def command(state: Path) -> None:
    """Run the service with a sandbox in Wiro's place, send the sample manifest through it, show the results.

    Nothing leaves this machine and nothing is paid, whatever is configured.
    """
    from pipeline import demo, log
    from pipeline.commands.items import print_rows
    from pipeline.progress import follow
    from pipeline.service import Service
    from pipeline.stack import running
    from pipeline.terminal import console

    log.configure()
    people = console()
    with running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack, demo.tended(stack):
        for what, where in stack.places:
            click.echo(f"{what:<7} {where}")
        os.environ.update(stack.environment)
        service = Service.from_settings(stack.settings)
        batch_id = demo.submit(stack, service)
        batch = follow(service.ledger, batch_id, people)
        click.echo()
        print_rows(service.ledger.items(batch_id))
        gallery = demo.bring_home(service, batch, state / "results" / batch_id)
        good = demo.ended_as_expected(service, batch_id)
        click.echo(f"\nResults {service.results_uri(batch)}")
        click.echo(f"Gallery file://{gallery.absolute()}  (open it in a browser)")
        if good:
            click.echo("All ended as they should: blooper is there to show what a failure looks like.")
    if not good:
        raise SystemExit(1)
