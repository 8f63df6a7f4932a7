"""The made-up portfolio is the same for everybody, says on each day what is known on it, and looks like a real one."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from stdnum.br import cnpj, cpf

from regua.channels.payment_codes import read_boleto_line, read_pix_code
from regua.errors import InputError
from regua.sample.portfolio import SamplePortfolio, customers_for, generate, generate_next_day, open_facts

pytestmark = pytest.mark.timeout(120)

AS_OF = date(2026, 11, 20)
SMALL = {"customers": 1500, "months": 12, "as_of": AS_OF, "seed": 7}


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> SamplePortfolio:
    return generate(tmp_path_factory.mktemp("inbox"), **SMALL)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    arguments = {"customers": 5000, "months": 24, "as_of": AS_OF, "seed": 7}
    with open_facts(tmp_path_factory.mktemp("facts"), **arguments, day=AS_OF) as (connection, _):
        yield connection


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _records(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def _value(facts: duckdb.DuckDBPyConnection, query: str) -> float:
    [(value,)] = facts.execute(query).fetchall()
    return value


def test_same_arguments_give_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    """8,000 customers make more invoices than one thread takes at a time (122,880 rows), so order could go wrong."""
    arguments = {"customers": 8000, "months": 24, "as_of": AS_OF, "seed": 3}
    first = generate(tmp_path / "one", **arguments, threads=1)
    generate(tmp_path / "four", **arguments, threads=4, memory="1GB")
    assert first.row_counts["invoices"] > 140_000
    assert _content(tmp_path / "one") == _content(tmp_path / "four")


def test_another_seed_gives_another_portfolio(tmp_path: Path, portfolio: SamplePortfolio) -> None:
    generate(tmp_path, **(SMALL | {"seed": 8}))
    name = f"payments_{AS_OF}.csv"
    assert (tmp_path / name).read_bytes() != (portfolio.folder / name).read_bytes()


def test_nothing_but_the_exports_is_left_in_the_folder(portfolio: SamplePortfolio) -> None:
    tables = ("customers", "subscriptions", "invoices", "payments", "contact_points", "consents", "contatos")
    exports = {f"{name}_{AS_OF}.csv" for name in tables} | {f"credits_{AS_OF}.jsonl.gz"}
    manifests = {f"{name}.manifest.json" for name in exports}
    assert set(_content(portfolio.folder)) == exports | manifests | {f"planted_{AS_OF}.json"}


@pytest.mark.parametrize(("file_set", "column"), [("invoices", "valor"), ("payments", "valor_recebido")])
def test_manifest_tells_digest_rows_and_total_of_the_file(tmp_path: Path, file_set: str, column: str) -> None:
    portfolio = generate(tmp_path, **SMALL, dirt=False)
    path = tmp_path / f"{file_set}_{AS_OF}.csv"
    manifest = json.loads(path.with_name(path.name + ".manifest.json").read_text())
    records = _records(path)
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["rows"] == len(records) == portfolio.row_counts[file_set] > 10_000
    assert Decimal(manifest["control_totals"][column]) == sum(Decimal(record[column]) for record in records)


def test_office_files_are_what_a_windows_spreadsheet_writes(portfolio: SamplePortfolio) -> None:
    content = (portfolio.folder / f"customers_{AS_OF}.csv").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == portfolio.row_counts["customers"] + 1
    assert "ção".encode("cp1252") in content
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")


def test_every_cpf_and_cnpj_is_valid_by_an_independent_library(tmp_path: Path) -> None:
    generate(tmp_path, **(SMALL | {"customers": 5000}), dirt=False)
    customers = _records(tmp_path / f"customers_{AS_OF}.csv", "cp1252", ";")
    documents = {"F": cpf, "J": cnpj}
    assert len(customers) == 5000
    assert [c["CNPJ_CPF"] for c in customers if not documents[c["TIPO_PESSOA"]].is_valid(c["CNPJ_CPF"])] == []
    assert len({documents[c["TIPO_PESSOA"]].compact(c["CNPJ_CPF"]) for c in customers}) == 5000
    assert sum(any(map(str.isalpha, c["CNPJ_CPF"])) for c in customers) > 50
    assert {c["TIPO_PESSOA"] for c in customers} == {"F", "J"}


def test_contact_data_can_reach_nobody(portfolio: SamplePortfolio) -> None:
    """RFC 2606 reserves the domains; no operator gives out mobile numbers that begin with 9 0000."""
    customers = _records(portfolio.folder / f"customers_{AS_OF}.csv", "cp1252", ";")
    addresses = [c["EMAIL"] for c in customers if "@" in c["EMAIL"]]
    telephones = ["".join(filter(str.isdigit, c["TELEFONE"])) for c in customers if c["TELEFONE"]]
    domains = {address.split("@")[1] for address in addresses}
    assert len(addresses) > 1000
    assert len(telephones) > 1000
    assert {name for name in domains if not name.endswith(".example")} == {"example.com", "example.net", "example.org"}
    assert {telephone[-9:-4] for telephone in telephones} == {"90000"}


def test_what_awaits_payment_has_codes_that_pay_it(tmp_path: Path) -> None:
    """And what was paid long ago has none, because nobody should pay it again."""
    generate(tmp_path, **SMALL, dirt=False)
    invoices = _records(tmp_path / f"invoices_{AS_OF}.csv")
    by_boleto = [r for r in invoices if r["linha_digitavel"]]
    by_pix = [r for r in invoices if r["pix_copia_e_cola"]]
    assert len(by_boleto) > 200
    assert len(by_pix) > 50
    for record in by_boleto:
        line = read_boleto_line(record["linha_digitavel"])
        due_date = date.fromisoformat(record["data_vencimento"])
        assert (line.amount, line.due_date(due_date)) == (Decimal(record["valor"]), due_date)
    assert all(read_pix_code(r["pix_copia_e_cola"]).amount == Decimal(r["valor"]) for r in by_pix)
    assert len({r["linha_digitavel"] for r in by_boleto}) == len(by_boleto)
    assert {r["forma_cobranca"] for r in by_boleto} == {"BOL"}
    assert {r["forma_cobranca"] for r in by_pix} == {"PIX"}
    with_page = [r for r in invoices if r["link_pagamento"]]
    assert all(r["link_pagamento"].startswith("https://pagar.nuvemfacil.example/f/") for r in with_page)
    assert len(with_page) < 0.2 * len(invoices)


def test_letters_can_reach_nobody(portfolio: SamplePortfolio) -> None:
    """No Brazilian post code begins with 00."""
    addresses = _records(portfolio.folder / f"contact_points_{AS_OF}.csv")
    assert 0.4 < len(addresses) / 1500 < 0.6
    assert {re.search(r"[0-9]{5}-[0-9]{3}", r["endereco"])[0][:2] for r in addresses} == {"00"}


def test_due_dates_fall_on_weekends_and_bank_holidays(facts: duckdb.DuckDBPyConnection) -> None:
    on_weekends = _value(facts, "select count_if(isodow(due_date) > 5) / count(*) from invoices")
    on_holidays = "select count(distinct due_date) from invoices semi join bank_holidays on due_date = holiday_date"
    year_end = "select count(*) from bank_holidays where month(holiday_date) = 12 and day(holiday_date) in (24, 31)"
    assert on_weekends == pytest.approx(0.28, abs=0.03)
    assert _value(facts, on_holidays) >= 8
    assert _value(facts, year_end) == 0


@pytest.mark.parametrize(
    ("payer_kind", "least_pct", "most_pct"),
    [("punctual", 0, 1.5), ("forgetful", 22, 42), ("troubled", 8, 20), ("strategic", 60, 85), ("disputing", 8, 22)],
)
def test_payers_of_each_kind_pay_as_late_as_the_reference_says(
    facts: duckdb.DuckDBPyConnection, payer_kind: str, least_pct: float, most_pct: float
) -> None:
    """The share of settled invoices paid more than five days after the due date."""
    settled = f"from invoices where payer_kind = '{payer_kind}' and first_payment_date is not null"
    assert _value(facts, f"select count(*) {settled}") > 1000
    late_pct = _value(facts, f"select 100 * avg((first_payment_date > due_date + 5)::int) {settled}")
    assert least_pct <= late_pct <= most_pct


@pytest.mark.parametrize(
    ("condition", "least", "most"),
    [
        pytest.param("cancelled_date is not null", 0.002, 0.01, id="cancelled"),
        pytest.param("written_off_date is not null", 0.004, 0.02, id="written off"),
        pytest.param("first_payment_date is null and cancelled_date is null", 0.004, 0.03, id="never paid"),
        pytest.param(
            "first_cents < cents * 0.75 and second_cents = cents - first_cents", 0.001, 0.02, id="paid in part"
        ),
        pytest.param(
            "first_cents = cents and reversed_date is null and second_payment_date is not null",
            *(0.001, 0.006),
            id="paid twice",
        ),
        pytest.param("reversed_date is not null", 0.0003, 0.002, id="reversed"),
        pytest.param("second_payment_date > reversed_date", 0.0001, 0.001, id="reversed and paid again"),
        pytest.param("credit_date is not null", 0.002, 0.01, id="credited"),
        pytest.param("first_cents = cents - 1", 0.001, 0.004, id="paid a cent short"),
        pytest.param("first_cents = cents + 1", 0.0004, 0.002, id="paid a cent too much"),
        pytest.param("period = 0", 0.005, 0.03, id="set-up without subscription"),
        pytest.param("draft_until is not null", 0.003, 0.01, id="draft for two days"),
    ],
)
def test_unusual_events_happen_and_stay_rare(
    facts: duckdb.DuckDBPyConnection, condition: str, least: float, most: float
) -> None:
    assert least <= _value(facts, f"select count_if({condition}) / count(*) from invoices") <= most


def test_portfolio_grows_and_churns(facts: duckdb.DuckDBPyConnection) -> None:
    january, last = (_value(facts, f"select count(*) from invoices where period = {m}") for m in (202501, 202610))
    assert 1.3 < last / january < 2.0
    assert _value(facts, "select count(*) from customers_export") == 5000
    assert 200 < _value(facts, "select count(*) from subscriptions_export where SITUACAO = 'CANCELADO'") < 1000


def test_nothing_is_exported_before_it_is_known(facts: duckdb.DuckDBPyConnection) -> None:
    latest = """
        select greatest(max(data_emissao), max(data_cancelamento), max(data_baixa)) from invoices_export
        union all select greatest(max(data_pagamento), max(data_registro), max(data_estorno)) from payments_export
        union all select max(data) from credits_export
        union all select greatest(max(data_envio), max(data_entrega)) from contatos_export
    """
    days = [day for (day,) in facts.execute(latest).fetchall()]
    assert len(days) == 4
    assert max(days) <= AS_OF


def test_an_export_and_the_deltas_after_it_say_the_same_as_a_later_export(tmp_path: Path) -> None:
    """Ten days over a month's end, with new customers, drafts turning open, write-offs and reversals."""
    arguments = SMALL | {"as_of": date(2026, 9, 25)}
    told: dict[str, dict[str, tuple[object, ...]]] = {"invoices": {}, "payments": {}, "credits": {}, "contatos": {}}

    def read(since: date, day: date) -> dict[str, dict[str, tuple[object, ...]]]:
        with open_facts(tmp_path, **arguments, since=since, day=day) as (facts, _):
            exported = {name: facts.execute(f"from {name}_export").fetchall() for name in told}
            return {name: {row[0]: row for row in rows} for name, rows in exported.items()}

    beginning, first = date(1900, 1, 1), arguments["as_of"]
    changed = 0
    for since, day in [(beginning, first), *((first + timedelta(n), first + timedelta(n + 1)) for n in range(10))]:
        for name, rows in read(since, day).items():
            changed += sum(key in told[name] for key in rows)
            told[name] |= rows
    assert changed > 5
    assert told == read(beginning, first + timedelta(10))


def test_next_day_brings_about_the_wanted_share_of_the_invoices(tmp_path: Path, portfolio: SamplePortfolio) -> None:
    next_day = generate_next_day(tmp_path, **SMALL, day=AS_OF + timedelta(days=1), changed_pct=5, dirt=False)
    assert next_day.row_counts["invoices"] == pytest.approx(0.05 * portfolio.row_counts["invoices"], rel=0.15)
    assert 0 < next_day.row_counts["payments"] < 0.01 * portfolio.row_counts["payments"]
    assert next_day.row_counts["customers"] >= 1500

    before = {r["titulo"]: r for r in _records(portfolio.folder / f"invoices_{AS_OF}.csv")}
    sent_again = [r for r in _records(tmp_path / f"invoices_{next_day.day}.csv") if r["titulo"] in before]
    assert len(sent_again) > 500
    assert all(record != before[record["titulo"]] for record in sent_again)


def test_snapshots_of_two_days_differ_a_little(tmp_path: Path, portfolio: SamplePortfolio) -> None:
    day = AS_OF + timedelta(days=3)
    generate_next_day(tmp_path, **SMALL, day=day)
    before = {r["CODIGO"]: r for r in _records(portfolio.folder / f"customers_{AS_OF}.csv", "cp1252", ";")}
    after = {r["CODIGO"]: r for r in _records(tmp_path / f"customers_{day}.csv", "cp1252", ";")}
    assert before.keys() <= after.keys()
    assert 0 < sum(record != after[code] for code, record in before.items()) < 0.03 * len(before)


def test_credits_are_json_lines_without_a_time_stamp_in_the_archive(portfolio: SamplePortfolio) -> None:
    packed = (portfolio.folder / f"credits_{AS_OF}.jsonl.gz").read_bytes()
    granted = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert packed[4:8] == b"\0\0\0\0"
    assert len(granted) == portfolio.row_counts["credits"] > 30
    assert {credit["motivo"] for credit in granted} == {"contestacao", "indisponibilidade", "cortesia"}


class TestTheSystemBefore:
    """What it wrote about overdue invoices, up to the day before régua takes over."""

    def test_it_writes_while_an_invoice_is_unpaid_and_of_no_cent(self, facts: duckdb.DuckDBPyConnection) -> None:
        """By the payments as exported, known on the day of the message; and no such invoice is left out."""
        facts.execute(
            """
            create or replace temp table owed as
            select
                titulo, data_vencimento, data_baixa, valor,
                coalesce(
                    list({'known': data_registro, 'amount': valor_recebido, 'back': data_estorno})
                    filter (recebimento is not null),
                    []
                ) as paid,
                bool_or(data_estorno > data_vencimento) is true as is_taken_back
            from invoices_export
            left join payments_export using (titulo)
            -- Nor what is contested, even where its end is not known yet.
            anti join (
                select concat('T', subscription_number, '-', period) as titulo
                from invoices
                where cancelled_date is not null or credit_date is not null
            ) using (titulo)
            group by all;
            create or replace macro paid_by(paid, moment) as coalesce(list_sum(list_transform(
                list_filter(paid, lambda one: one.known <= moment and coalesce(one.back > moment, true)),
                lambda one: one.amount
            )), 0);
            """
        )
        written = "from contatos_export inner join owed using (titulo)"
        assert _value(facts, f"select count(*) {written}") > 20_000
        assert _value(facts, f"select min(valor - paid_by(paid, data_envio)) {written}") >= 1
        assert _value(facts, f"select count_if(data_baixa <= data_envio) {written}") == 0
        # The first step's day, moved by at most four days.
        missed = """
            select count(*) from owed
            anti join contatos_export using (titulo)
            semi join customers_export on EMAIL is not null and CODIGO = (
                select cliente from invoices_export where invoices_export.titulo = owed.titulo
            )
            where not is_taken_back and data_vencimento + 10 < getvariable('as_of')
                and valor - paid_by(paid, data_vencimento + 10) >= 1
        """
        assert _value(facts, missed) == 0

    def test_its_steps_keep_their_days(self, facts: duckdb.DuckDBPyConnection) -> None:
        """Moved on from Sundays and bank holidays, by no more than Carnival needs."""
        days = facts.execute(
            "select etapa, meio, min(data_envio - contado_de), max(data_envio - contado_de) from contatos_export "
            "group by all order by 3, 2"
        ).fetchall()
        steps = [("COBRANCA_1", "EMAIL", 6), ("COBRANCA_2", "EMAIL", 12), ("AVISO_SUSPENSAO", "EMAIL", 15)]
        steps += [("PROPOSTA", "EMAIL", 25), ("AVISO_NEGATIVACAO", "CARTA", 40), ("AVISO_NEGATIVACAO", "EMAIL", 40)]
        assert [day[:3] for day in days] == steps
        assert all(first < last <= first + 4 for _, _, first, last in days)
        closed = "isodow({0}) = 7 or {0} in (select holiday_date from bank_holidays)"
        for column in ("data_envio", "data_entrega"):
            assert _value(facts, f"select count_if({closed.format(column)}) from contatos_export") == 0

    def test_it_counts_anew_from_a_reversal(self, facts: duckdb.DuckDBPyConnection) -> None:
        anew = """
            from contatos_export
            inner join invoices_export using (titulo)
            inner join (select titulo, data_estorno from payments_export where data_estorno is not null) using (titulo)
            where data_estorno > data_vencimento
        """
        assert _value(facts, f"select count_if(contado_de = data_estorno) {anew}") > 50
        assert _value(facts, f"select count_if((contado_de = data_estorno) <> (data_envio > data_estorno)) {anew}") == 0

    def test_it_knows_what_is_contested(self, facts: duckdb.DuckDBPyConnection) -> None:
        contested = (
            "from contatos_export semi join (select titulo from credits_export where motivo = 'contestacao' "
            "union all select titulo from invoices_export where situacao = 'C') using (titulo)"
        )
        assert _value(facts, f"select count(*) {contested}") == 0

    @pytest.mark.parametrize(
        ("medium", "fate", "share_pct"),
        [
            ("EMAIL", "ENTREGUE", 95),
            ("EMAIL", "DEVOLVIDO", 2),
            ("EMAIL", "ENVIADO", 3),
            ("CARTA", "ENTREGUE", 85),
            ("CARTA", "DEVOLVIDO", 0),
            ("CARTA", "ENVIADO", 15),
        ],
    )
    def test_most_of_it_arrives(
        self, facts: duckdb.DuckDBPyConnection, medium: str, fate: str, share_pct: float
    ) -> None:
        of_medium = f"from contatos_export where meio = '{medium}'"
        found = _value(facts, f"select 100 * count_if(situacao = '{fate}') / count(*) {of_medium}")
        # There are some 1,200 letters, and a few are still on their way.
        assert found == pytest.approx(share_pct, abs=4 if medium == "CARTA" else 1)

    def test_letters_take_days_and_emails_none(self, facts: duckdb.DuckDBPyConnection) -> None:
        took = "select min(data_entrega - data_envio), max(data_entrega - data_envio) from contatos_export"
        [(first, last)] = facts.execute(f"{took} where meio = 'CARTA'").fetchall()
        assert (first, last <= 12) == (4, True)
        assert facts.execute(f"{took} where meio = 'EMAIL'").fetchall() == [(0, 0)]
        undated = "(data_entrega is null) = (situacao = 'ENTREGUE')"
        assert _value(facts, f"select count_if({undated}) from contatos_export") == 0

    def test_it_writes_to_addresses_there_are(self, facts: duckdb.DuckDBPyConnection) -> None:
        without_email = "semi join customers_export on cliente = CODIGO and EMAIL is null where meio = 'EMAIL'"
        without_address = "anti join contact_points_export using (cliente) where meio = 'CARTA'"
        for nowhere in (without_email, without_address):
            assert _value(facts, f"select count(*) from contatos_export {nowhere}") == 0
        # An address that bounces does so for the customer's other invoices, until there is another.
        same_day = "select cliente, data_envio from contatos_export where meio = 'EMAIL' group by all"
        both = "having count(*) > 1 and count_if(situacao = 'DEVOLVIDO') between 1 and count(*) - 1"
        assert _value(facts, f"select count(*) from ({same_day} having count(*) > 1)") > 50
        assert _value(facts, f"select count(*) from ({same_day} {both})") == 0

    def test_nothing_is_written_from_the_day_on_which_regua_takes_over(self, tmp_path: Path) -> None:
        """Days after it only prove letters that were on their way; in the end nothing comes any more."""
        # A Friday; on AS_OF, a holiday, nothing would have been posted anyway.
        as_of = date(2026, 9, 25)
        arguments = SMALL | {"as_of": as_of, "dirt": False}
        first = generate(tmp_path, **arguments)
        before = {r["contato"]: r for r in _records(tmp_path / f"contatos_{as_of}.csv")}
        assert max(r["data_envio"] for r in before.values()) == str(as_of - timedelta(days=1))
        assert first.row_counts["contatos"] == len(before) > 1000
        proved = []
        for number in range(1, 16):
            day = as_of + timedelta(days=number)
            next_day = generate_next_day(tmp_path, **arguments, day=day, changed_pct=None)
            path = tmp_path / f"contatos_{day}.csv"
            assert path.exists() == (next_day.row_counts["contatos"] > 0)
            of_day = _records(path) if path.exists() else []
            assert all(r["meio"] == "CARTA" and r["data_entrega"] == str(day) for r in of_day)
            assert all(before[r["contato"]]["situacao"] == "ENVIADO" for r in of_day)
            proved.append(len(of_day))
        assert sum(proved) > 3
        assert proved[-3:] == [0, 0, 0]


def test_a_wished_number_of_invoices_is_met_within_a_tenth(tmp_path: Path) -> None:
    portfolio = generate(tmp_path, customers=customers_for(50_000, 24), months=24, as_of=AS_OF, seed=1, dirt=False)
    assert portfolio.row_counts["invoices"] == pytest.approx(50_000, rel=0.1)


@pytest.mark.parametrize("wrong", [{"customers": 3}, {"months": 1}], ids=["three customers", "one month"])
def test_a_portfolio_without_a_history_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 10 customers and 2 months"):
        generate(tmp_path, **(SMALL | wrong))


def test_a_next_day_that_is_not_later_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must lie after 2026-11-20"):
        generate_next_day(tmp_path, **SMALL, day=AS_OF)
