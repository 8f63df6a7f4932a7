"""The `regua` command: everything a DAG does, without Airflow. Each command calls one function of the package."""

from __future__ import annotations

import atexit
import json
import os
import sys
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import click

from regua.cli_types import Day, Instant, today
from regua.dispatch import commands as dispatch_commands
from regua.errors import BusyError, InputError, ReguaError
from regua.instants import utc_clock
from regua.panel import commands as panel_commands
from regua.settings import Settings, load_settings
from regua.suspension import commands as suspension_commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regua")
def cli() -> None:
    """Receivables and dunning, one night at a time."""


@cli.command()
@click.option("--as-of", type=Day(), help="Business day to describe. [default: today in São Paulo]")
@click.option("--known-at", type=Instant(), help="Replay with what was known then (UTC); loads nothing newer.")
@click.option("--source", "sources", multiple=True, help="Source to use instead of REGUA_SOURCES; may be repeated.")
def run(as_of: date | None, known_at: datetime | None, sources: tuple[str, ...]) -> None:
    """Run a whole night here, without Airflow."""
    from regua.nightly.progress import run_with_progress

    run_with_progress(_settings(sources), as_of or today(), known_at, utc_clock)


@cli.group()
def source() -> None:
    """Look at the sources and their mappings."""


@source.command("list")
def source_list() -> None:
    """Every source, and what has landed of the configured ones."""
    from regua.ingest.arrival import LandingStore
    from regua.ingest.mapping import read_source, source_names

    settings = load_settings()
    for name in source_names(settings.sources_dir):
        used = "used" if name in settings.source_names else "not in REGUA_SOURCES"
        click.echo(f"{name} ({used}): {read_source(settings.sources_dir, name).description}")
        for arrival in LandingStore(settings.landing_dir, name).arrivals():
            discarded = f", discarded: {arrival.discarded}" if arrival.discarded else ""
            click.echo(f"  {arrival.batch_id} {arrival.landed_at} {arrival.file_set}: {arrival.file_name}{discarded}")


@source.command("check")
@click.argument("name")
def source_check(name: str) -> None:
    """Try a mapping on the files in its inbox and say what is wrong, by file and column. Changes nothing."""
    from regua.ingest.checking import check_source
    from regua.ingest.mapping import read_source

    settings = load_settings()
    marks = {
        "fault": click.style("✗", fg="red"),
        "quarantine": click.style("!", fg="yellow"),
        "note": click.style("·", fg="green"),
    }
    counts = dict.fromkeys(marks, 0)
    for finding in check_source(read_source(settings.sources_dir, name), settings.inbox, os.environ):
        counts[finding.severity] += 1
        text = finding.text if finding.text.startswith(finding.file_name) else f"{finding.file_name}: {finding.text}"
        click.echo(f"{marks[finding.severity]} {text}")
    if counts["fault"]:
        raise InputError(f"{counts['fault']} findings (✗) would stop the night.")
    click.echo(f"The night can take this; {counts['quarantine']} findings (!) would put rows into quarantine.")


@source.command("discard")
@click.argument("name")
@click.argument("batch_id")
@click.option("--reason", required=True, help="Kept with the arrival.")
def source_discard(name: str, batch_id: str, reason: str) -> None:
    """Never load an arrival that landed but cannot be used."""
    from regua.ingest.arrival import LandingStore

    arrival = LandingStore(load_settings().landing_dir, name).discard(batch_id, reason)
    click.echo(f"{arrival.file_name} ({arrival.batch_id}) will not be loaded.")


@cli.command()
@click.argument("name", type=click.Choice(["summary", "delinquency", "customers", "segments", "sellers"]))
@click.option("--as-of", type=Day(), required=True, help="Day of the report; a night of it must be kept.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .csv, .xlsx or .parquet file. [default: CSV to the screen]",
)
def report(name: str, as_of: date, output: Path | None) -> None:
    """Receivables of a published day: a summary, overdue invoices one by one, by customer, segment or seller."""
    from regua.publish.reports import as_csv, read_report, write_report

    table = read_report(load_settings(), name, as_of)
    if output is None:
        click.echo(as_csv(table), nl=False)
        return
    write_report(table, output)
    click.echo(f"{output}: {len(table.rows)} rows of {as_of}")


@cli.command()
def metrics() -> None:
    """Write the folder in which `mf query` answers from the served night."""
    from regua.publish.metrics_project import write_metrics_project

    folder = write_metrics_project(load_settings())
    click.echo(f"cd {folder} && DBT_PROFILES_DIR=. mf query --metrics delinquency_rate --group-by metric_time__month")


@cli.command()
@click.option("--as-of", type=Day(), required=True, help="Day of the aging.")
@click.option("--known-at", type=Instant(), help="With what was known then (UTC), instead of as published.")
@click.option("--currency", help="ISO code. [default: the one with most receivables]")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def aging(as_of: date, known_at: datetime | None, currency: str | None, output: str) -> None:
    """Open receivables of a day by age: as published, or computed for a day no night described."""
    from regua.publish.aging import read_aging

    found = read_aging(load_settings(), as_of, currency=currency, known_at=known_at)
    if output == "json":
        click.echo(json.dumps(found.to_json(), indent=1))
        return
    from regua.nightly.summary import print_aging

    print_aging(found)


@cli.command()
@click.argument("customer")
@click.option("--as-of", type=Day(), help="Day to explain. [default: the last one run]")
@click.option("--known-at", type=Instant(), help="With what was known then (UTC), not by that day's night.")
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(customer: str, as_of: date | None, known_at: datetime | None, output: str) -> None:
    """Why a customer is written to on a day, or is not: balance, ladder, rule by rule with the facts used."""
    from regua.simulation.explaining import explain as account_of
    from regua.simulation.explaining import print_explanation

    settings = load_settings()
    told = account_of(settings, customer, as_of or _last_day(settings), known_at=known_at)
    if output == "json":
        click.echo(json.dumps(told.to_json(), indent=1, ensure_ascii=False))
    else:
        print_explanation(told)


@cli.command()
@click.option(
    "--policy",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Policy file to try; with two they are compared. [default: the policies in force]",
)
@click.option("--from", "first_day", type=Day(), required=True, help="First day.")
@click.option("--to", "last_day", type=Day(), required=True, help="Last day.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with charts here.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def simulate(files: tuple[Path, ...], first_day: date, last_day: date, html: Path | None, output: str) -> None:
    """What a policy would have sent on past days, on the data as it was known. Contacts nobody, changes nothing."""
    from regua.simulation.presenting import show_simulation, simulate_with_progress, write_page

    found = simulate_with_progress(load_settings(), files, first_day, last_day)
    if html is not None:
        write_page(found, html)
    if output == "json":
        click.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        show_simulation(found)
        if html is not None:
            click.echo(f"page: {html}")


@cli.group()
def night() -> None:
    """Look at nights that were run."""


@night.command("show")
@click.option("--as-of", type=Day(), help="Business day. [default: the last one run]")
@click.option("--require-success", is_flag=True, help="Exit with 1 unless the night was published.")
@click.option("--explain-one", is_flag=True, help="Also tell the story of one customer of its plan.")
def night_show(as_of: date | None, require_success: bool, explain_one: bool) -> None:
    """What happened: rows in, quarantined and why, aging, gates, the day's plan, time per stage, where things lie."""
    from regua.nightly.summary import show_night

    plan = show_night(load_settings(), as_of, require_success=require_success)
    if explain_one and plan is not None and plan.example_customer_id is not None:
        from regua.simulation.explaining import explain, print_explanation

        print_explanation(explain(load_settings(), plan.example_customer_id, plan.as_of))


@cli.group()
def fact() -> None:
    """Record and look at dated facts: promises, disputes, pauses, opt-outs … The night that lands next knows them."""


_ASSIGNMENTS = click.argument("assignments", nargs=-1, metavar="[NAME=VALUE]...")
_AUTHOR = click.option("--author", required=True, help="Id of who says it.")
_REASON = click.option("--reason", required=True, help="Why; kept for good.")


@fact.command("entities")
def fact_entities() -> None:
    """What can be recorded, and the columns of each."""
    from regua.ledger.fact_commands import described_entities

    click.echo("\n".join(described_entities()))


@fact.command("add")
@click.argument("entity")
@_ASSIGNMENTS
@click.option("--customer", help="Short for customer_id=…")
@click.option("--invoice", help="Short for invoice_id=…")
@click.option("--from", "valid_from", type=Day(), help="First day on which it holds. [default: today in São Paulo]")
@click.option("--until", "valid_to", type=Day(), help="Last day on which it holds.")
@_AUTHOR
@_REASON
@click.option("--allow-unknown", is_flag=True, help="Record it though no published night has the customer or invoice.")
def fact_add(
    entity: str,
    assignments: tuple[str, ...],
    customer: str | None,
    invoice: str | None,
    valid_from: date | None,
    valid_to: date | None,
    author: str,
    reason: str,
    allow_unknown: bool,
) -> None:
    """Record a fact: regua fact add promise customer_id=C1 promised_date=2026-07-03 --author ana --reason "said so"."""
    from regua.ledger.fact_commands import add_fact, described_fact, parsed_assignments

    shorts = {
        "customer_id": customer,
        "invoice_id": invoice,
        "valid_from_date": valid_from and valid_from.isoformat(),
        "valid_to_date": valid_to and valid_to.isoformat(),
    }
    written = [f"{name}={value}" for name, value in shorts.items() if value is not None]
    given = {"valid_from_date": today().isoformat()} | parsed_assignments([*assignments, *written])
    recorded = add_fact(
        load_settings(), utc_clock, entity, given, author=author, reason=reason, allow_unknown=allow_unknown
    )
    click.echo(described_fact(recorded))


@fact.command("list")
@click.argument("entity", required=False)
@click.option("--customer", help="Facts that name this customer.")
@click.option("--invoice", help="Facts that name this invoice.")
@click.option("--as-of", type=Day(), help="Only those that hold on this day.")
def fact_list(entity: str | None, customer: str | None, invoice: str | None, as_of: date | None) -> None:
    """Facts recorded by command, those withdrawn left out. Facts from files are in the warehouse only."""
    from regua.ledger.fact_commands import described_fact, recorded_facts

    facts = recorded_facts(load_settings(), entity, customer=customer, invoice=invoice, as_of=as_of)
    for each in facts:
        click.echo(described_fact(each))
    if not facts:
        click.echo("No such fact was recorded.", err=True)


@fact.command("show")
@click.argument("fact_id")
def fact_show(fact_id: str) -> None:
    """All that was ever said of a fact: when, by whom and why."""
    from regua.ledger.fact_commands import described_history

    click.echo("\n".join(described_history(load_settings(), fact_id)))


@fact.command("change")
@click.argument("fact_id")
@_ASSIGNMENTS
@_AUTHOR
@_REASON
def fact_change(fact_id: str, assignments: tuple[str, ...], author: str, reason: str) -> None:
    """Say what is otherwise now: regua fact change op-7 paid_date=2026-07-03 … An empty VALUE empties a column."""
    from regua.ledger.fact_commands import amend_fact, described_fact, parsed_assignments

    given = parsed_assignments(assignments)
    click.echo(described_fact(amend_fact(load_settings(), utc_clock, fact_id, given, author=author, reason=reason)))


@fact.command("end")
@click.argument("fact_id")
@click.option("--on", "last_day", type=Day(), required=True, help="Last day on which it holds.")
@_AUTHOR
@_REASON
def fact_end(fact_id: str, last_day: date, author: str, reason: str) -> None:
    """Say on which day a fact holds for the last time."""
    from regua.ledger.fact_commands import amend_fact, described_fact

    given = {"valid_to_date": last_day.isoformat()}
    click.echo(described_fact(amend_fact(load_settings(), utc_clock, fact_id, given, author=author, reason=reason)))


@fact.command("withdraw")
@click.argument("fact_id")
@_AUTHOR
@_REASON
def fact_withdraw(fact_id: str, author: str, reason: str) -> None:
    """Say that a fact was never true. It stays in the ledger, and in what earlier nights knew."""
    from regua.ledger.fact_commands import retract_fact

    withdrawn = retract_fact(load_settings(), utc_clock, fact_id, author=author, reason=reason)
    click.echo(f"{withdrawn.fact_id} is withdrawn.")


@cli.group()
def policy() -> None:
    """Look at the policies: who is contacted, how and when."""


@policy.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def policy_check(file: Path | None) -> None:
    """Say what is wrong with one policy file, or with all of them together. Changes nothing."""
    from regua.policy.policies import load_policies, read_policy

    policies = load_policies(load_settings().policies_dir) if file is None else [read_policy(file)]
    for each in policies:
        last = each.versions[-1]
        click.echo(
            f"{each.path}: {len(each.versions)} version(s), the last one with {len(last.content.steps)} steps "
            f"({last.version_hash}){', the default' if each.content.default else ''}"
        )


@policy.command("show")
@click.argument("name")
@click.option("--as-of", type=Day(), help="Day on which it holds. [default: today in São Paulo]")
def policy_show(name: str, as_of: date | None) -> None:
    """The ladder of a policy in force on a day, with its conditions, limits and thresholds."""
    from regua.policy.ladder import print_ladder
    from regua.policy.policies import load_policies

    day = as_of or today()
    found = load_policies(load_settings().policies_dir).named(name)
    version = found.version_on(day)
    if version is None:
        raise InputError(f"{name} does not hold on {day}; its first version begins {found.versions[0].effective_from}.")
    print_ladder(version)


@cli.group()
def template() -> None:
    """Look at the wording of the messages."""


@template.command("preview")
@click.argument("templates", nargs=-1, metavar="[TEMPLATE]...")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder. [default: in REGUA_HOME]")
def template_preview(templates: tuple[str, ...], output: Path | None) -> None:
    """Write templates with made-up data as files to look at, and say what the check would refuse."""
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.channels.template_preview import preview_templates

    settings = load_settings()
    folder = output or settings.home / "preview" / "templates"
    made = preview_templates(
        settings.templates_dir, read_dispatch_file(settings.dispatch_path), templates, folder.absolute()
    )
    click.echo(f"{made.message_count} messages: open {made.index}")
    if made.faults:
        raise InputError("\n".join(["None of these would be sent:", *made.faults]))


@cli.group()
def sample() -> None:
    """A made-up portfolio to try things on."""


@sample.command("generate")
@click.option("--customers", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--months", type=click.IntRange(min=1), default=24, show_default=True)
@click.option("--as-of", type=Day(), required=True, help="Day whose exports are written.")
@click.option("--seed", type=int, default=20260630, show_default=True)
def sample_generate(customers: int, months: int, as_of: date, seed: int) -> None:
    """Write the exports of a believable Brazilian SaaS company into the inbox of the source `sample`."""
    from regua.sample.portfolio import write_sample

    portfolio = write_sample(load_settings(), customers=customers, months=months, as_of=as_of, seed=seed)
    for name, rows in portfolio.row_counts.items():
        click.echo(f"{name}: {rows} rows")
    for planted in portfolio.planted:
        click.echo(f"planted in {planted.file_set}: {planted.row_count} × {planted.kind} → {planted.becomes}")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; a TLS proxy stands before it.")
@click.option("--port", type=click.IntRange(1, 65535), default=8090, show_default=True)
def receive(host: str, port: int) -> None:
    """Hear from providers what became of messages, and of payments as they come."""
    from regua.dispatch.receiver import serve

    serve(load_settings(), os.environ, host, port)


def _last_day(settings: Settings) -> date:
    from regua.publish.serving import current_generation, read_serving_manifest

    return date.fromisoformat(read_serving_manifest(current_generation(settings))["as_of"])


def _settings(source_names: tuple[str, ...]) -> Settings:
    settings = load_settings()
    return replace(settings, source_names=source_names) if source_names else settings


for command in (
    dispatch_commands.plan,
    dispatch_commands.dispatch,
    dispatch_commands.ledger,
    suspension_commands.suspensions,
    panel_commands.panel,
):
    cli.add_command(command)


def main() -> None:
    """Entry point: what a person can act on comes without a traceback. Exit 1 for input, 75 (try later) for busy."""
    code = _run()
    # DuckDB's binding ends an interpreter in which Great Expectations ran with a page on leaks. The last thing on the
    # screen must be what the command said. What others registered for the end is done all the same.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run() -> int:
    try:
        cli()
    except SystemExit as ended:
        # How click ends a command, a mistyped one included.
        return ended.code if isinstance(ended.code, int) else 0
    except BusyError as error:
        click.secho(str(error), fg="yellow", err=True)
        return 75
    except ReguaError as error:
        click.secho(str(error), fg="red", err=True)
        return 1
    return 0
