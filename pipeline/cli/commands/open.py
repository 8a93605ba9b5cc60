"""`open`: open the dashboard, or the page of a batch, in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import ledger, optional_batch_argument, settings, state_option
from pipeline.errors import InvalidSettings


@click.command("open")
@optional_batch_argument
@state_option
def command(batch_id: str | None, state: Path) -> None:
    """Print the address of the dashboard, or of the page of BATCH, and open it in the browser."""
    import webbrowser

    from pipeline.cli.service_address import dashboard_url

    if batch_id is not None:
        ledger(state).batches.get(batch_id)
    url = dashboard_url(settings(state), batch_id)
    if url is None:
        raise InvalidSettings(
            "The address of the dashboard is not known. Set PIPELINE_DASHBOARD_URL to it, or start `dailies up`."
        )
    click.echo(url)
    if not webbrowser.open(url):
        click.echo("No browser starts on this machine: open the address yourself.", err=True)
