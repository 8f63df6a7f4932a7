"""Houses in which a list of suspensions is about to be published, made from real nights, and what is told in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
import yaml
from tests.conftest import PROJECT_DIR
from tests.integration.conftest import every_table
from tests.oracle.scenario import batch_row, insert

from regua.dispatch.daily import plan_day
from regua.dispatch.payments import note_payment
from regua.instants import local_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import broken_link
from regua.ledger.fact_commands import add_fact
from regua.ledger.suspensions import CHANGES, PROPOSALS, PUBLICATIONS
from regua.ledger.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_EVENTS
from regua.nightly.stages import Night, run_night
from regua.sample.portfolio import generate, generate_next_day
from regua.settings import Settings, load_settings
from regua.suspension.artefacts import CHANGES_COLUMNS, LIST_COLUMNS, changes_rows, list_rows, verify
from regua.suspension.ledger_state import Proposal, read_standings
from regua.suspension.machine_csv import read_machine_csv
from regua.suspension.proving import prove
from regua.suspension.publishing import HandOver, Published, hand_over, publish
from regua.suspension.standing import Entry

# The list of EVE says who is in notice, that of DAY suspends; most invoices fall due on the twentieth, so on NEXT a
# payments file is long enough that 40 % of it are too little.
EVE, DAY, NEXT, AFTER_NEXT = (date(2026, 5, day) for day in (18, 19, 20, 21))
_SAMPLE: dict[str, Any] = {"customers": 300, "months": 6, "as_of": EVE, "seed": 2}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HELD_BY_NOTHING = 1000


class Clock:
    """Stands at an instant; each look is a millisecond later, as nothing happens at once."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)


def night_of(day: date) -> Clock:
    """Two in the morning in São Paulo."""
    return Clock(datetime(day.year, day.month, day.day, 5))  # noqa: DTZ001 - instants are naive and UTC here


def morning_of(day: date) -> Clock:
    """Eleven in São Paulo."""
    return Clock(datetime(day.year, day.month, day.day, 14))  # noqa: DTZ001


class Receiver:
    """The product: remembers which webhooks it was told, and says thank you."""

    def __init__(self) -> None:
        self.told: list[str] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                told.append(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/webhooks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class House:
    """An installation, the folder around it, and the hour in it."""

    settings: Settings
    folder: Path
    clock: Clock
    receiver: Receiver | None = None

    @property
    def archive(self) -> Path:
        return self.settings.suspensions_dir

    @property
    def environ(self) -> Mapping[str, str]:
        """By which a process of its own opens the same house."""
        named = {
            "REGUA_ENV": self.settings.environment,
            "REGUA_HOME": str(self.settings.home),
            "REGUA_SUSPENSION_FILE": str(self.settings.suspension_path),
            **_SMALL,
        }
        return named | ({"REGUA_LEDGER_URL": self.settings.ledger_url} if self.settings.ledger_url else {})

    def rules(self, **changes: Any) -> None:
        """Write include/suspension.yml with another cap."""
        written = yaml.safe_load((PROJECT_DIR / "include" / "suspension.yml").read_text(encoding="utf-8"))
        cap = changes.pop("new_suspensions", HELD_BY_NOTHING)
        written["caps"] |= {"new_suspensions": cap}
        written["caps"]["band"]["subscriptions"] = HELD_BY_NOTHING
        written["webhooks"] = [{"code": "product", "url": self.receiver.url}] if self.receiver else []
        self.settings.suspension_path.write_text(yaml.safe_dump(written | changes), encoding="utf-8")

    # What is done in it

    def run_night(self, day: date, run_id: str | None = None, *, is_planned: bool = True) -> None:
        self.clock = night_of(day) if run_id is None else self.clock
        run_night(self.settings, Night(day, None, run_id or f"night-{day}"), self.clock)
        if is_planned:
            plan_day(self.settings, day, self.clock)

    def prove(self, day: date = DAY) -> Proposal:
        return prove(self.settings, day, self.clock)

    def publish(self, proposal: Proposal | int) -> Published:
        return publish(self.settings, proposal if isinstance(proposal, int) else proposal.number, self.clock)

    def hand_over(self) -> HandOver:
        return hand_over(self.settings, self.clock, {"REGUA_WEBHOOK_SECRET": SECRET})

    def pays(self, *invoice_ids: str, name: str = "later") -> None:
        """A file of the day in the inbox, in the form of the sample's own, with the whole of each invoice."""
        day = local_day(self.clock())
        amounts = dict(self.query("select invoice_id, amount from marts.fct_invoices"))
        rows = [f"{name}-{id_},{id_},{day},{day},{amounts[id_]},PIX," for id_ in invoice_ids]
        self.deliver(f"payments_{day}_{name}.csv", [PAYMENTS_HEADER, *rows])

    def deliver(self, name: str, lines: Sequence[str]) -> None:
        """A file of the sample with its manifest; of the lines the first is the header."""
        content = ("\n".join(lines) + "\n").encode()
        path = self.settings.inbox / "sample" / name
        path.write_bytes(content)
        manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(lines) - 1}
        path.with_name(f"{name}.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        self._written_now(path)

    def _written_now(self, path: Path) -> None:
        """A feed is heard of when its file was written, by the file's own time."""
        written_at = self.clock.now.replace(tzinfo=UTC).timestamp()
        os.utime(path, (written_at, written_at))

    def receive(self, exports: Path, *, without: str = "nothing") -> None:
        """The exports of a day arrive; those of `without` do not."""
        for path in exports.iterdir():
            if not path.name.startswith(without):
                self._written_now(Path(shutil.copy(path, self.settings.inbox / "sample")))

    def arrives_again(self, name: str) -> None:
        """A file that lies in the inbox is written anew, with the same content."""
        self._written_now(self.settings.inbox / "sample" / name)

    def tells(self, kind: str, entry: Entry) -> None:
        """One thing that keeps access, or gives it back, of the first invoice that suspends the subscription."""
        [invoice_id, *_] = entry.debt.suspending_invoice_ids
        today = local_day(self.clock())
        ends = {"valid_to_date": str(today + timedelta(days=3))}
        since = {"valid_from_date": str(today)}
        match kind:
            case "export":
                self.pays(invoice_id, name=f"of-{entry.subscription_id}")
            case "noted":
                with open_ledger(self.settings) as engine:
                    note_payment(engine, f"pay-{invoice_id}", invoice_id, "webhook", self.clock)
            case "dispute":
                self._add("dispute", {"invoice_id": invoice_id, "reason": "never ordered"} | since)
            case "agreement":
                of = {"customer_id": entry.customer_id}
                agreement = self._add("agreement", of | since)
                self._add("agreement_invoice", {"agreement_id": agreement, "invoice_id": invoice_id} | since)
            case "exemption":
                self._add("exemption", {"customer_id": entry.customer_id} | since)
            case "pause":
                self._add("pause", {"customer_id": entry.customer_id} | since | ends)
            case "promise":
                promised = {"promised_date": ends["valid_to_date"], "customer_id": entry.customer_id}
                self._add("promise", {"invoice_id": invoice_id} | promised | since)
            case "trust_unlock":
                self._add("trust_unlock", {"customer_id": entry.customer_id} | since | ends)
            case _:
                raise ValueError(kind)

    def _add(self, entity: str, given: Mapping[str, str]) -> str:
        wanted = {name: value for name, value in given.items() if name != "reason"}
        fact = add_fact(self.settings, self.clock, entity, wanted, author="ana", reason="test", allow_unknown=True)
        return fact.fact_id

    @contextmanager
    def warehouse(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """To change what a test has to have otherwise."""
        with duckdb.connect(str(self.settings.warehouse_path)) as warehouse:
            yield warehouse

    # What is found in it

    def query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.settings.warehouse_path), read_only=True) as warehouse:
            return warehouse.execute(query, list(values)).fetchall()

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with open_ledger(self.settings) as engine, engine.connect() as connection:
            return list(connection.execute(query).all())

    def standings(self) -> dict[str, Entry]:
        with open_ledger(self.settings) as engine, engine.connect() as connection:
            return read_standings(connection)

    def without_access(self) -> set[str]:
        return {subscription_id for subscription_id, entry in self.standings().items() if not entry.has_access}

    def publications(self) -> list[Any]:
        return self.rows(sa.select(PUBLICATIONS).order_by(PUBLICATIONS.c.sequence))

    def proposal_states(self) -> list[str]:
        return [row.state_code for row in self.rows(sa.select(PROPOSALS).order_by(PROPOSALS.c.proposal_number))]

    def files(self) -> dict[str, bytes]:
        """What a reader sees: staged folders have a name that begins with a dot."""
        return {path.name: path.read_bytes() for path in self.archive.iterdir() if path.is_file()}

    def staged(self) -> list[Path]:
        return [path for path in self.archive.iterdir() if path.is_dir()]

    def webhooks(self, sequence: int) -> set[tuple[str, str, str]]:
        """Id, kind and content of each event; when it was recorded is left out."""
        query = sa.select(WEBHOOK_EVENTS).where(WEBHOOK_EVENTS.c.sequence == sequence)
        found = [(row.event_id, row.type_code, json.loads(row.body)["data"]) for row in self.rows(query)]
        assert len(found) == len({event_id for event_id, *_ in found})
        return {(event_id, type_code, json.dumps(data, sort_keys=True)) for event_id, type_code, data in found}

    def deliveries(self) -> list[Any]:
        return self.rows(sa.select(WEBHOOK_DELIVERIES))

    def assert_files_and_ledger_say_the_same(self) -> None:
        """Every publication is placed and whole; the last files say what standings and changes do."""
        publications = self.publications()
        assert [row.sequence for row in publications] == list(range(1, len(publications) + 1))
        assert [row.sequence for row in publications if row.placed_at is None] == []
        assert set(self.files()) == {name for row in publications for name in row.file_names}
        for row in publications:
            manifest = verify(self.archive, row.file_names[-1])
            assert (manifest.sequence, manifest.sha256) == (row.sequence, row.manifest_sha256)
        last = publications[-1]
        entries = list(self.standings().values())
        assert self.csv(last.file_names[0], LIST_COLUMNS) == list_rows(entries)
        told = self.csv(last.file_names[1], CHANGES_COLUMNS)
        # Who is regular again stands in no row of the ledger's standings.
        assert set(changes_rows(entries)) <= set(told)
        query = sa.select(CHANGES.c.subscription_id, CHANGES.c.change_code).where(CHANGES.c.sequence == last.sequence)
        changed = {tuple(row) for row in self.rows(query) if row.change_code not in (None, "keep")}
        assert changed <= {(row[0], row[2]) for row in told}
        with open_ledger(self.settings) as engine:
            assert broken_link(engine) is None

    def csv(self, name: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(row) for row in read_machine_csv((self.archive / name).read_bytes(), columns, name)]


PAYMENTS_HEADER = "recebimento,titulo,data_pagamento,data_registro,valor_recebido,meio,data_estorno"
_SMALL = {"REGUA_WAREHOUSE_MEMORY": "1GB", "REGUA_WAREHOUSE_THREADS": "2"}


@dataclass(frozen=True)
class Street:
    """Homes to be copied: `planned` is the morning of DAY before anything is proved, `suspended` after its list."""

    folder: Path
    planned: Path = field(init=False)
    suspended: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "planned", self.folder / "planned")
        object.__setattr__(self, "suspended", self.folder / "suspended")

    def exports_of(self, day: date) -> Path:
        return self.folder / "exports" / str(day)


def house_in(
    folder: Path,
    home: Path,
    clock: Clock,
    *,
    receiver: Receiver | None = None,
    environment: str = "local",
    ledger_url: str | None = None,
    **rules: Any,
) -> House:
    """A copy of a home, in `folder`; its ledger in PostgreSQL where a URL is given."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(home, folder / "home", symlinks=True, ignore=shutil.ignore_patterns("quality"))
    named = {"REGUA_ENV": environment, "REGUA_HOME": str(folder / "home"), **_SMALL}
    named["REGUA_SUSPENSION_FILE"] = str(folder / "suspension.yml")
    settings = load_settings(named)
    if ledger_url is not None:
        elsewhere = replace(settings, ledger_url=ledger_url)
        _move_ledger(settings, elsewhere)
        settings = elsewhere
    house = House(settings, folder, clock, receiver)
    house.rules(**rules)
    return house


def _move_ledger(settings: Settings, elsewhere: Settings) -> None:
    with (
        open_ledger(settings) as one,
        open_ledger(elsewhere) as other,
        one.connect() as source,
        other.begin() as target,
    ):
        for table in every_table().sorted_tables:
            rows = [dict(row) for row in source.execute(sa.select(table)).mappings()]
            if rows:
                target.execute(sa.insert(table), rows)


def build_street(folder: Path) -> Street:
    """Two nights and the exports of two more days."""
    street = Street(folder)
    first = house_in(folder / "first", _empty(folder), night_of(EVE))
    generate(street.exports_of(EVE), **_SAMPLE)
    (first.settings.inbox / "sample").mkdir(parents=True)
    first.receive(street.exports_of(EVE))
    first.run_night(EVE)
    assert first.publish(first.prove(EVE)).without_access_count == 0
    for day in (DAY, NEXT, AFTER_NEXT):
        generate_next_day(street.exports_of(day), **_SAMPLE, day=day)
    first.clock = night_of(DAY)
    first.receive(street.exports_of(DAY))
    first.run_night(DAY)
    shutil.copytree(first.settings.home, street.planned, symlinks=True)
    first.clock = morning_of(DAY)
    assert first.publish(first.prove()).suspended_count > 10
    shutil.copytree(first.settings.home, street.suspended, symlinks=True)
    return street


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def lines_of(street: Street, day: date) -> list[str]:
    """Of the payments file of a day."""
    return (street.exports_of(day) / f"payments_{day}.csv").read_text(encoding="utf-8").splitlines()


def usual_payments(house: House, day: date, count: int) -> None:
    """On the three same weekdays before, so many payments came: what the gate on volumes compares with."""
    with house.warehouse() as warehouse:
        columns = [row[0] for row in warehouse.execute("describe ops.batches").fetchall()]
        rows = []
        for weeks in (1, 2, 3):
            earlier = day - timedelta(weeks=weeks)
            loaded_at = night_of(earlier).now
            row = batch_row(f"usual-{earlier}", "payments", loaded_at, source="sample", file=f"usual-{earlier}.csv")
            rows.append(row | {"file_set": "payments", "as_of": earlier, "read_count": count, "accepted_count": count})
        insert(warehouse, "ops.batches", columns, rows)


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
