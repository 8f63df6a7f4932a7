"""The night's modelling as a careful engineer writes it with pandas: typed columns, money in whole cents, no loops.

Right for clean exports of the sample only, like floor.sql. Amounts are written as cents.
"""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

_BUCKETS = ["current", "1-30", "31-60", "61-90", "90+"]
_SMALL_DELAY_MAX_DAYS = 4
_CPF = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
_CNPJ = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
_EMAIL = r"[a-z0-9.!#$%&*+/=?^_`{|}~-]+@[a-z0-9-]+([.][a-z0-9-]+)*[.][a-z]{2,}"
_AREA = "(1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
_PHONE = f"(0|55|0055)?{_AREA}(9[0-9]{{8}}|[2-5][0-9]{{7}})"


def build(exports: Path, into: Path, seeds: Path, as_of: date) -> dict[str, float]:
    """Write the marts as Parquet into `into`; returns the seconds of reading, modelling and writing."""
    started = time.perf_counter()
    customers, subscriptions, invoices, payments, rebates = _read(exports)
    read = time.perf_counter()
    day = pd.Timestamp(as_of)
    facts = _invoices(invoices, payments, rebates, _effective_days(seeds), day)
    marts = {
        "dim_customers": _customers(customers, subscriptions, facts, day),
        "fct_invoices": facts,
        "fct_invoice_aging": (aging := _invoice_aging(facts)),
        "agg_aging_daily": _aging_daily(aging, day),
    }
    modelled = time.perf_counter()
    for name, mart in marts.items():
        mart.to_parquet(into / f"{name}.parquet", index=False)
    written = time.perf_counter()
    return {"read": read - started, "model": modelled - read, "write": written - modelled}


def _read(exports: Path) -> tuple[pd.DataFrame, ...]:
    office = {"sep": ";", "encoding": "cp1252"}
    customers = pd.read_csv(
        _only(exports, "customers_*.csv"),
        **office,
        dtype="str",
        date_format="%d/%m/%Y",
        parse_dates=["DATA_CADASTRO"],
        usecols=lambda name: name != "NOME_RAZAO_SOCIAL",
    )
    subscriptions = pd.read_csv(
        _only(exports, "subscriptions_*.csv"),
        **office,
        dtype="str",
        date_format="%d/%m/%Y",
        parse_dates=["INICIO_VIGENCIA", "FIM_VIGENCIA"],
        usecols=["CLIENTE", "SITUACAO", "INICIO_VIGENCIA", "FIM_VIGENCIA"],
    )
    texts = {"titulo": "str", "cliente": "str", "contrato": "str", "situacao": "category", "forma_cobranca": "category"}
    days = ["data_emissao", "data_vencimento", "data_cancelamento", "data_baixa"]
    invoices = pd.read_csv(
        _only(exports, "invoices_*.csv"),
        engine="pyarrow",
        dtype={**texts, "valor": "float64"},
        parse_dates=days,
        usecols=[*texts, *days, "valor"],
    )
    days = ["data_pagamento", "data_estorno"]
    payments = pd.read_csv(
        _only(exports, "payments_*.csv"),
        engine="pyarrow",
        dtype={"titulo": "str", "valor_recebido": "float64"},
        parse_dates=days,
        usecols=["titulo", "valor_recebido", *days],
    )
    files = list(exports.glob("credits_*.jsonl.gz"))
    rebates = pd.read_json(files[0], lines=True, dtype={"titulo": "str", "valor": "str"}, convert_dates=["data"])
    return customers, subscriptions, invoices, payments, rebates


def _invoices(
    invoices: pd.DataFrame, payments: pd.DataFrame, rebates: pd.DataFrame, effective_days: pd.Series, day: pd.Timestamp
) -> pd.DataFrame:
    settlements = pd.concat([_standing_payments(payments, day), _applied_credits(rebates, day)], ignore_index=True)
    grouped = settlements.groupby("invoice_id", sort=False)
    totals = grouped.agg(
        paid_amount=("paid_amount", "sum"),
        credited_amount=("credited_amount", "sum"),
        settlement_count=("settling_date", "size"),
        last_settlement_date=("settling_date", "max"),
    )
    invoices = invoices[(invoices["situacao"] != "R") & (invoices["data_emissao"] <= day)]
    facts = pd.DataFrame(
        {
            "invoice_id": invoices["titulo"],
            "customer_id": invoices["cliente"],
            "subscription_id": invoices["contrato"],
            "payment_method_code": invoices["forma_cobranca"].cat.rename_categories(
                {"BOL": "boleto", "PIX": "pix", "PXA": "pix_automatico", "CAR": "card"}
            ),
            "issue_date": invoices["data_emissao"],
            "due_date": invoices["data_vencimento"],
            "effective_due_date": invoices["data_vencimento"].map(effective_days).fillna(invoices["data_vencimento"]),
            "amount": _cents(invoices["valor"]),
        }
    )
    facts = facts.merge(totals, how="left", left_on="invoice_id", right_index=True)
    for column in ("paid_amount", "credited_amount", "settlement_count"):
        facts[column] = facts[column].fillna(0).astype("int64")
    cancelled_date = invoices["data_cancelamento"].where(
        invoices["data_cancelamento"].notna() | (invoices["situacao"] != "C"), invoices["data_emissao"]
    )
    written_off_date = invoices["data_baixa"].where(
        invoices["data_baixa"].notna() | (invoices["situacao"] != "B"), invoices["data_emissao"]
    )
    is_cancelled, is_written_off = (cancelled_date <= day).to_numpy(), (written_off_date <= day).to_numpy()
    balance = facts["amount"] - facts["paid_amount"] - facts["credited_amount"]
    facts["open_amount"] = balance.clip(lower=0).where(~is_cancelled & ~is_written_off, 0)
    facts["excess_amount"] = (-balance).clip(lower=0).where(~is_cancelled, facts["paid_amount"])
    facts["status_code"] = pd.Categorical.from_codes(
        np.select([is_cancelled, is_written_off, balance <= 0, balance < facts["amount"]], [4, 3, 2, 1], 0),
        ["open", "partially_paid", "paid", "written_off", "cancelled"],
    )
    covered = _overpaid_settlements(facts[(balance < 0) & (facts["settlement_count"] > 1)], settlements)
    settled = facts["invoice_id"].map(covered) if len(covered) else pd.Series(pd.NaT, index=facts.index)
    settled = settled.fillna(facts["last_settlement_date"]).fillna(facts["issue_date"])
    settled = settled.where(settled > facts["issue_date"], facts["issue_date"])
    facts["settled_date"] = settled.where(facts["status_code"] == "paid")
    facts["is_overdue"] = (facts["open_amount"] > 0) & (facts["effective_due_date"] < day)
    since_due = (day - facts["due_date"]).dt.days
    days_past_due = since_due.where(facts["is_overdue"], since_due.clip(upper=0)).where(facts["open_amount"] > 0)
    facts["days_past_due"] = days_past_due.astype("Int32")
    days_late = (facts["settled_date"] - facts["due_date"]).dt.days
    days_late = days_late.where((facts["settled_date"] > facts["effective_due_date"]) | facts["settled_date"].isna(), 0)
    facts["days_late"] = days_late.astype("Int32")
    facts["is_small_delay"] = facts["is_overdue"] & (days_past_due <= _SMALL_DELAY_MAX_DAYS)
    facts["aging_bucket_code"] = pd.cut(days_past_due, [-np.inf, 0, 30, 60, 90, np.inf], labels=_BUCKETS)
    facts["as_of_date"] = day
    facts["calendar_code"] = pd.Categorical.from_codes(np.zeros(len(facts), "int8"), ["br-bank"])
    facts["currency_code"] = pd.Categorical.from_codes(np.zeros(len(facts), "int8"), ["BRL"])
    return facts.drop(columns=["settlement_count", "last_settlement_date"])


def _standing_payments(payments: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    stands = (payments["data_pagamento"] <= day) & ~(payments["data_estorno"] <= day)
    # Undone no later than it took effect, a payment never counted.
    stands &= ~(payments["data_estorno"] <= payments["data_pagamento"])
    payments = payments[stands]
    return pd.DataFrame(
        {
            "invoice_id": payments["titulo"],
            "settling_date": payments["data_pagamento"],
            "paid_amount": _cents(payments["valor_recebido"]),
            "credited_amount": 0,
        }
    )


def _applied_credits(rebates: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    rebates = rebates[rebates["titulo"].notna() & (rebates["data"] <= day)]
    return pd.DataFrame(
        {
            "invoice_id": rebates["titulo"],
            "settling_date": rebates["data"],
            "paid_amount": 0,
            "credited_amount": _cents(rebates["valor"].astype("float64")),
        }
    )


def _overpaid_settlements(overpaid: pd.DataFrame, settlements: pd.DataFrame) -> pd.Series:
    """The day on which the sum first covered the invoice, where more came than was owed."""
    settling = settlements.merge(overpaid[["invoice_id", "amount"]], on="invoice_id")
    settling["received"] = settling["paid_amount"] + settling["credited_amount"]
    daily = settling.groupby(["invoice_id", "settling_date"], as_index=False).agg(
        received=("received", "sum"), amount=("amount", "first")
    )
    daily["settled"] = daily.groupby("invoice_id")["received"].cumsum()
    return daily[daily["settled"] >= daily["amount"]].groupby("invoice_id")["settling_date"].min()


def _invoice_aging(facts: pd.DataFrame) -> pd.DataFrame:
    columns = [
        "as_of_date", "invoice_id", "customer_id", "currency_code", "due_date", "effective_due_date", "open_amount",
        "days_past_due", "aging_bucket_code", "is_overdue", "is_small_delay",
    ]  # fmt: skip
    return facts.loc[facts["open_amount"] > 0, columns]


def _aging_daily(aging: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    aging = aging.assign(small_delay_amount=aging["open_amount"].where(aging["is_small_delay"], 0))
    daily = aging.groupby("aging_bucket_code", observed=False).agg(
        invoice_count=("invoice_id", "size"),
        customer_count=("customer_id", "nunique"),
        open_amount=("open_amount", "sum"),
        small_delay_count=("is_small_delay", "sum"),
        small_delay_amount=("small_delay_amount", "sum"),
    )
    daily = daily.reindex(_BUCKETS).reset_index()
    return daily.assign(as_of_date=day, currency_code="BRL", sort_order=range(1, len(_BUCKETS) + 1))


def _customers(
    customers: pd.DataFrame, subscriptions: pd.DataFrame, facts: pd.DataFrame, day: pd.Timestamp
) -> pd.DataFrame:
    running = (subscriptions["INICIO_VIGENCIA"] <= day) & ~(subscriptions["FIM_VIGENCIA"] < day)
    active = subscriptions[running & (subscriptions["SITUACAO"] == "ATIVO")].groupby("CLIENTE").size()
    counted = pd.DataFrame(
        {
            "customer_id": facts["customer_id"],
            "issue_date": facts["issue_date"],
            "is_open": facts["open_amount"] > 0,
            "is_overdue": facts["is_overdue"],
            "overdue_days": facts["days_past_due"].where(facts["is_overdue"]),
        }
    )
    invoiced = counted.groupby("customer_id", sort=False).agg(
        first_issue_date=("issue_date", "min"),
        invoice_count=("issue_date", "size"),
        open_invoice_count=("is_open", "sum"),
        overdue_invoice_count=("is_overdue", "sum"),
        max_days_past_due=("overdue_days", "max"),
    )
    phones, mails = customers["TELEFONE"], customers["EMAIL"].str.strip().str.lower()
    digits = phones.str.replace(r"[^0-9]", "", regex=True)
    is_foreign = phones.str.startswith("+") & ~digits.str.startswith("55")
    described = pd.DataFrame(
        {
            "customer_id": customers["CODIGO"],
            "is_registered": True,
            "person_type_code": customers["TIPO_PESSOA"].map({"F": "individual", "J": "company"}),
            "state_code": customers["UF"],
            "segment_code": customers["SEGMENTO"],
            "created_date": customers["DATA_CADASTRO"],
            "merged_into_customer_id": customers["CODIGO_UNIFICADO"],
            "is_document_valid": _is_document_valid(customers["CNPJ_CPF"]),
            "has_email": mails.str.fullmatch(_EMAIL).fillna(False).astype("bool"),
            "has_phone": (digits.str.fullmatch(_PHONE) & ~is_foreign).fillna(False).astype("bool"),
        }
    )
    described = described.merge(invoiced, how="outer", left_on="customer_id", right_index=True)
    for column in ("is_registered", "is_document_valid", "has_email", "has_phone"):
        described[column] = described[column].astype("boolean").fillna(False).astype("bool")
    described["as_of_date"] = day
    described["active_subscription_count"] = described["customer_id"].map(active)
    for column in ("invoice_count", "open_invoice_count", "overdue_invoice_count", "active_subscription_count"):
        described[column] = described[column].fillna(0).astype("int64")
    return described


def _is_document_valid(written: pd.Series) -> np.ndarray:
    documents = written.fillna("").str.upper().str.replace(r"[^0-9A-Z]", "", regex=True)
    is_repeated = documents.str.fullmatch(r"(.)\1*")
    is_cpf = documents.str.fullmatch("[0-9]{11}") & ~is_repeated
    is_cnpj = documents.str.fullmatch("[0-9A-Z]{12}[0-9]{2}") & ~is_repeated
    # A character is worth its ASCII code less 48.
    values = documents.to_numpy("U14").view("uint32").reshape(-1, 14).astype("int64") - 48
    return (is_cpf & _are_digits_right(values, _CPF) | is_cnpj & _are_digits_right(values, _CNPJ)).to_numpy("bool")


def _are_digits_right(values: np.ndarray, weights: list[int]) -> np.ndarray:
    def is_right(weights: list[int]) -> np.ndarray:
        rest = (11 - values[:, : len(weights)] @ np.array(weights) % 11) % 11 % 10
        return rest == values[:, len(weights)]

    return is_right(weights[1:]) & is_right(weights)


def _effective_days(seeds: Path) -> pd.Series:
    files = [seeds / "bank_holidays.csv", seeds / "extra_bank_holidays.csv"]
    holidays = pd.concat([pd.read_csv(file, parse_dates=["holiday_date"])["holiday_date"] for file in files])
    days = pd.Series(pd.date_range("1990-01-01", "2060-12-31"))
    is_business_day = (days.dt.dayofweek < 5) & ~days.isin(holidays)
    effective = days.where(is_business_day).bfill().fillna(days)
    return pd.Series(effective.to_numpy(), index=days)


def _cents(amounts: pd.Series) -> pd.Series:
    """Exact: two decimals, and far below 2^53 cents."""
    return (amounts * 100).round().astype("int64")


def _only(exports: Path, pattern: str) -> Path:
    [path] = exports.glob(pattern)
    return path
