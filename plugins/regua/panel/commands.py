"""`regua panel`: the panel as a file. What is heavy is imported where it is used."""

from __future__ import annotations

import click

from regua.settings import load_settings


@click.group()
def panel() -> None:
    """The panel that managers look at."""


@panel.command("export")
def export_command() -> None:
    """Write the panel of the served night as one HTML file that needs no network."""
    from regua.panel.page import export_panel

    click.echo(str(export_panel(load_settings())))


@panel.command("looks")
@click.option("--customer", help="Only looks at this customer.")
def looks_command(customer: str | None) -> None:
    """Who looked at customers behind the panel's numbers, the newest first."""
    from regua.panel.debtors import read_looks

    for look in read_looks(load_settings()):
        if customer is None or look.customer_id == customer:
            click.echo(f"{look.looked_at:%Y-%m-%d %H:%M:%S}  {look.user_name}  {look.customer_id or look.listing}")
