"""KPIs of contacts, promises, suspensions and expected cash over a real portfolio, a second time in plain pandas.

The portfolio holds charges and payments alone; what people and nights did about them is made up, the same every time.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from tests.integration.real_data.test_kpis import AS_OF, DATA, ROOT, month_of, real_charges

from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.settings import load_settings

# A working day; AS_OF is a Sunday, on which nobody is written to.
BEFORE = pd.Timestamp("2019-06-19")
STEPS = {"reminder_email": -5, "overdue_sms": 6, "overdue_email": 6, "last_reminder_email": 12}
FATES = ("sent", "delivered", "bounced", "not_sent", "unknown")
SPLIT = ["month", "segment"]
DAY = pd.Timedelta(days=1)

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the Datarisk portfolio is not in {DATA}"),
]


@pytest.fixture(scope="module")
def charges() -> pd.DataFrame:
    """Every charge with its id, customer and segment, whatever its day."""
    found = real_charges()
    customers = pd.read_csv(DATA / "customers.csv", sep=";", dtype=str).set_index("ID_CLIENTE")
    segments = customers["SEGMENTO_INDUSTRIAL"].fillna("").map(_plain_upper).replace("", "none")
    found["segment"] = found["customer"].map(segments)
    return found.sort_values("invoice").reset_index(drop=True)


def _plain_upper(text: str) -> str:
    letters = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).upper()


@pytest.fixture(scope="module")
def facts(charges: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What was sent, promised, agreed and shut off, by the names of the contract."""
    dice = np.random.default_rng(7)
    overdue = charges[(charges["due"] >= "2018-12-01") & (charges["due"] <= "2019-05-20")]
    touches = pd.concat([overdue.assign(step=step, offset=offset) for step, offset in STEPS.items()])
    touches = touches[dice.random(len(touches)) < 0.5]
    planned = touches["due"] + pd.to_timedelta(touches["offset"], unit="D")
    fate = pd.Series(dice.choice(FATES, len(touches), p=[0.1, 0.7, 0.1, 0.05, 0.05]), touches.index)
    delivered = planned + pd.to_timedelta(dice.integers(0, 4, len(touches)), unit="D")
    told = {
        "touch_id": [f"t{number:06}" for number in range(len(touches))],
        "customer_id": touches["customer"],
        "invoice_id": touches["invoice"],
        "step_code": touches["step"],
        "channel_code": touches["step"].str.rpartition("_")[2],
        "planned_date": planned,
        "fate_code": fate,
        "delivered_date": delivered.where((fate == "delivered") & (dice.random(len(touches)) < 0.9)),
    }
    some = overdue.sample(900, random_state=1)
    made = some["due"] + pd.to_timedelta(dice.integers(-3, 20, len(some)), unit="D")
    until = made + pd.to_timedelta(dice.integers(0, 15, len(some)), unit="D")
    share = pd.Series(dice.choice([50, 100, 120], len(some)), some.index)
    promises = {
        "promise_id": [f"p{number:06}" for number in range(len(some))],
        "customer_id": some["customer"],
        "invoice_id": some["invoice"].where(dice.random(len(some)) < 0.7),
        "promised_date": until,
        "amount": (some["cents"] * share // 100).map(_money).where(dice.random(len(some)) < 0.5),
        "valid_from_date": made,
        "valid_to_date": (until - DAY).where((dice.random(len(some)) < 0.1) & (until > made)),
    }
    covered = overdue.sample(600, random_state=2)
    agreements = covered.drop_duplicates("customer")
    begun = agreements["due"] + pd.to_timedelta(dice.integers(5, 40, len(agreements)), unit="D")
    broken = begun + pd.to_timedelta(dice.integers(10, 60, len(agreements)), unit="D")
    shut = overdue.sample(400, random_state=3).drop_duplicates("customer")
    contracts = pd.concat([shut, charges.drop_duplicates("customer")]).drop_duplicates("customer")
    began = charges.groupby("customer")["issued"].min()
    return {
        "touches": pd.DataFrame(told),
        "promises": pd.DataFrame(promises),
        "agreements": pd.DataFrame(
            {
                "agreement_id": "a" + agreements["customer"],
                "customer_id": agreements["customer"],
                "broken_date": broken.where(dice.random(len(agreements)) < 0.4),
                "valid_from_date": begun,
            }
        ),
        "agreement_invoices": pd.DataFrame(
            {
                "agreement_invoice_id": "c" + covered["invoice"],
                "agreement_id": "a" + covered["customer"],
                "invoice_id": covered["invoice"],
                "valid_from_date": covered["customer"].map(dict(zip(agreements["customer"], begun, strict=True))),
            }
        ),
        "subscriptions": _contracts(contracts, shut, began, dice),
        "standing_changes": _changes(shut, dice),
        "contact_points": pd.DataFrame(
            {
                "contact_point_id": "m" + began.index,
                "customer_id": began.index,
                "contact_type_code": "email",
                "address": "c" + began.index + "@example.net",
                "valid_from_date": pd.Timestamp("2018-01-01"),
            }
        ),
    }


def _contracts(
    contracts: pd.DataFrame, shut: pd.DataFrame, began: pd.Series, dice: np.random.Generator
) -> pd.DataFrame:
    """One each, which of those that were shut off ended for a third; some came back with another."""
    is_ended = contracts["customer"].isin(shut["customer"]) & (dice.random(len(contracts)) < 0.33)
    ended = (contracts["due"] + 45 * DAY).where(is_ended | (dice.random(len(contracts)) < 0.05))
    first = pd.DataFrame(
        {
            "subscription_id": "s" + contracts["customer"],
            "customer_id": contracts["customer"],
            "status_code": "active",
            "start_date": contracts["customer"].map(began),
            "end_date": ended,
        }
    )
    back = first[first["end_date"].notna() & (dice.random(len(first)) < 0.25)]
    again = back.assign(
        subscription_id="b" + back["customer_id"], start_date=back["end_date"] + 10 * DAY, end_date=pd.NaT
    )
    return pd.concat([first, again])


def _changes(shut: pd.DataFrame, dice: np.random.Generator) -> pd.DataFrame:
    """Everybody's access is taken, most often after 25 days; half get it back, some are proposed for cancellation."""
    off = shut["due"] + pd.to_timedelta(dice.integers(20, 30, len(shut)), unit="D")
    days = pd.Series(dice.integers(1, 15, len(shut)), shut.index)
    place = pd.Series([f"{number:06}" for number in range(len(shut))], shut.index)
    base = pd.DataFrame({"subscription_id": "s" + shut["customer"], "customer_id": shut["customer"]})
    base = base.assign(invoice_id=shut["invoice"].where(dice.random(len(shut)) < 0.9), reason_code="made_up")
    code = pd.Series(dice.choice(["reactivated", "cancellation_proposed", "none"], len(shut), p=[0.5, 0.2, 0.3]))
    code.index = shut.index
    taken = base.assign(
        change_id="1-" + place, published_date=off, standing_before_code="notice", standing_code="suspended"
    )
    later = base.assign(
        change_id="2-" + place,
        published_date=off + pd.to_timedelta(days, unit="D"),
        standing_before_code="suspended",
        standing_code=code,
    )
    changes = pd.concat([taken, later[code != "none"]])
    return changes.assign(as_of_date=changes["published_date"] - DAY)


@pytest.fixture(scope="module")
def marts(
    facts: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """What a night of the portfolio and these facts serves, and one eleven days before whose decisions are kept."""
    home = tmp_path_factory.mktemp("contacts")
    inbox = home / "inbox" / "datarisk"
    inbox.mkdir(parents=True)
    for path in DATA.glob("*.csv"):
        shutil.copyfile(path, inbox / path.name)
    source = yaml.safe_load((ROOT / "include" / "sources" / "datarisk.yml").read_text(encoding="utf-8"))
    for name, frame in facts.items():
        frame.to_csv(inbox / f"{name}_made_up.csv", sep=";", index=False, date_format="%Y-%m-%d")
        feed = {"columns": {column: column for column in frame.columns}}
        source["files"][name] = {"glob": f"{name}_made_up.csv", "delimiter": ";", "mode": "snapshot"}
        source["files"][name]["feeds"] = {name: feed}
    # Half of the customers of each e-mail step are held out, but from legal notices.
    policy = yaml.safe_load((ROOT / "include" / "policies" / "default.yml").read_text(encoding="utf-8"))
    for step in policy["versions"][0]["steps"]:
        if step["channel"] == "email" and "notice" not in step:
            step["holdout_pct"] = 50.0
    for folder, name, content in (("sources", "datarisk", source), ("policies", "default", policy)):
        (home / folder).mkdir()
        (home / folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    settings = replace(
        load_settings({"REGUA_HOME": str(home)}),
        source_names=("datarisk",),
        sources_dir=home / "sources",
        policies_dir=home / "policies",
    )
    for day in (BEFORE, AS_OF):
        run_night(settings, Night(day.date(), None, "real"), utc_clock)
    with duckdb.connect(str(settings.serving_dir / "current" / "serving.duckdb"), read_only=True) as serving:
        yield serving


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def read(marts: duckdb.DuckDBPyConnection, table: str, keys: list[str], values: list[str]) -> dict[tuple, tuple]:
    """Sums by keys, amounts in cents; what is zero throughout is left out."""
    summed = ", ".join(f"sum({value})" for value in values)
    found = {}
    for row in marts.execute(f"select {', '.join([*keys, summed])} from {table} group by all").fetchall():
        key = tuple(pd.Timestamp(part) if isinstance(part, date) else part for part in row[: len(keys)])
        numbers = tuple(
            int(number * 100) if value.endswith("_amount") else int(number)
            for value, number in zip(values, row[len(keys) :], strict=True)
        )
        if any(numbers):
            found[key] = numbers
    return found


def summed(frame: pd.DataFrame, keys: list[str], values: list[str]) -> dict[tuple, tuple]:
    """The same of a frame, whose values are whole numbers or truths."""
    found = frame.groupby(keys)[values].sum()
    rows = zip(found.index, found.itertuples(index=False), strict=True)
    return {key: tuple(int(number) for number in row) for key, row in rows if any(row)}


def settled_before(charges: pd.DataFrame, invoices: pd.Series, days: pd.Series) -> pd.Series:
    """Whether an invoice's one payment took effect on a day before."""
    paid = invoices.map(charges.set_index("invoice")["raw_paid"])
    return (paid < days).fillna(value=False)


@pytest.fixture(scope="module")
def lines(charges: pd.DataFrame, facts: dict[str, pd.DataFrame], marts: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Every line of a message, with what it is credited; those that the first night decided are read from the marts."""
    decided = marts.execute(
        "select invoice_id, step_code, channel_code, as_of_date as planned_date, 'planned' as fate_code "
        "from fct_dunning_decisions where outcome_code = 'eligible'"
    ).df()
    decided["planned_date"] = decided["planned_date"].astype("datetime64[us]")
    touches = facts["touches"]
    assert set(decided["planned_date"]) == {BEFORE}
    lines = pd.concat([touches, decided.drop_duplicates()], ignore_index=True)
    lines["segment"] = lines["invoice_id"].map(charges.set_index("invoice")["segment"])
    lines["month"] = month_of(lines["planned_date"])
    for fate in FATES:
        lines[fate] = lines["fate_code"] == fate
    paid = lines["invoice_id"].map(charges.set_index("invoice")["paid"])
    lines["cents"] = lines["invoice_id"].map(charges.set_index("invoice")["cents"])
    arrived = lines["delivered_date"].fillna(lines["planned_date"])
    is_near = lines["delivered"] & (arrived <= paid) & (paid <= arrived + 7 * DAY) & (lines["cents"] > 0)
    near = lines[is_near].assign(arrived=arrived).sort_values(["arrived", "touch_id"])
    lines["is_last"] = lines.index.isin(near.groupby("invoice_id").tail(1).index)
    lines["is_first"] = lines.index.isin(near.groupby("invoice_id").head(1).index)
    lines["last_cents"] = lines["cents"].where(lines["is_last"], 0)
    lines["first_cents"] = lines["cents"].where(lines["is_first"], 0)
    return lines


def test_steps_and_channels_bring_the_same(marts: duckdb.DuckDBPyConnection, lines: pd.DataFrame) -> None:
    lines = lines.assign(planned=1, accepted=lines["sent"] | lines["delivered"] | lines["bounced"])
    ours = ["planned", "accepted", "delivered", "bounced", "not_sent", "unknown", "is_last", "last_cents"]
    counts = [f"{name}_count" for name in (*ours[:6], "credited")]
    values = [*counts, "credited_amount", "first_touch_amount"]
    for table, names in (
        ("kpi_step_performance", ["step_code", "channel_code"]),
        ("kpi_channel_performance", ["channel_code"]),
    ):
        theirs = read(marts, table, ["month_date", "segment_code", *names], values)
        assert summed(lines, [*SPLIT, *names], [*ours, "first_cents"]) == theirs, table
        assert len(theirs) > 20
    # It is no comparison of nothings.
    assert lines["last_cents"].sum() > 0
    assert (lines["is_first"] != lines["is_last"]).any()


def test_trust_counts_the_same_mistakes(
    marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame, facts: dict[str, pd.DataFrame], lines: pd.DataFrame
) -> None:
    went = lines[~lines["fate_code"].isin(["planned", "not_sent"])].assign(contact=1)
    went["wrong"] = settled_before(charges, went["invoice_id"], went["planned_date"])
    assert went["wrong"].sum() > 50
    assert summed(went, SPLIT, ["contact", "unknown", "wrong"]) == read(
        marts, "kpi_trust", ["month_date", "segment_code"], ["contact_count", "unknown_count", "false_contact_count"]
    )
    changes = facts["standing_changes"].set_index("subscription_id")
    off = changes[changes["standing_code"] == "suspended"].copy()
    segments = charges.set_index("invoice")["segment"]
    off["segment"] = off["invoice_id"].map(segments).fillna("none")
    off["month"] = month_of(off["published_date"])
    back = changes.loc[changes["standing_code"] == "reactivated", "published_date"]
    off["days"] = (back.reindex(off.index) - off["published_date"]).dt.days
    off["is_back"], off["is_soon"] = off["days"].notna(), off["days"] <= 7
    off["wrong"] = settled_before(charges, off["invoice_id"], off["published_date"])
    off["suspended"], off["days"] = 1, off["days"].fillna(0)
    assert off["wrong"].sum() > 20
    assert summed(off, SPLIT, ["suspended", "wrong", "is_back", "is_soon", "days"]) == read(
        marts,
        "kpi_trust",
        ["month_date", "segment_code"],
        ["suspension_count", "false_suspension_count", "returned_count", "returned_7_count", "returned_days"],
    )


def test_promises_are_kept_the_same(
    marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame, facts: dict[str, pd.DataFrame]
) -> None:
    known = charges[charges["issued"] <= AS_OF]
    promises = facts["promises"]
    taken_back = promises["valid_to_date"].notna()
    promises = promises[(promises["promised_date"] < AS_OF) & ~taken_back]
    of_one = promises.merge(known, left_on="invoice_id", right_on="invoice")
    of_all = promises[promises["invoice_id"].isna()].merge(known, left_on="customer_id", right_on="customer")
    about = pd.concat([of_one, of_all])
    made, until = about["valid_from_date"], about["promised_date"]
    is_owed = (about["issued"] < made) & ~(about["paid"] < made)
    about["owed"] = about["cents"].where(is_owed, 0)
    about["collected"] = about["cents"].where(is_owed & (about["paid"] >= made) & (about["paid"] <= until), 0)
    about = about[about["issued"] <= until]
    judged = about.groupby("promise_id").agg(
        month=("promised_date", "first"),
        segment=("segment", "first"),
        amount=("amount", "first"),
        owed=("owed", "sum"),
        collected=("collected", "sum"),
    )
    said = judged["amount"].map(lambda text: int(text.replace(".", "")), na_action="ignore")
    judged["promised"] = said.fillna(judged["owed"]).astype(int)
    judged = judged[judged["promised"] > 0].assign(one=1, month=lambda frame: month_of(frame["month"]))
    judged["is_kept"] = judged["collected"] >= judged["promised"]
    judged["kept"] = judged["promised"].where(judged["is_kept"], 0)
    assert judged["is_kept"].sum() > 50
    assert summed(judged, SPLIT, ["one", "is_kept", "promised", "kept"]) == read(
        marts,
        "kpi_promises",
        ["month_date", "segment_code"],
        ["promise_count", "kept_count", "promised_amount", "kept_amount"],
    )


def test_agreements_break_the_same(
    marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame, facts: dict[str, pd.DataFrame]
) -> None:
    covers = facts["agreement_invoices"].drop(columns="valid_from_date").merge(facts["agreements"], on="agreement_id")
    covers = covers.merge(charges, left_on="invoice_id", right_on="invoice")
    covers = covers[covers["issued"] < covers["valid_from_date"]]
    covers["owed"] = covers["cents"].where(~(covers["paid"] < covers["valid_from_date"]), 0)
    agreements = covers.groupby("agreement_id").agg(
        month=("valid_from_date", "first"),
        segment=("segment", "first"),
        broken=("broken_date", "first"),
        owed=("owed", "sum"),
    )
    agreements = agreements.assign(one=1, month=month_of(agreements["month"]), broken=agreements["broken"] <= AS_OF)
    agreements["lost"] = agreements["owed"].where(agreements["broken"], 0)
    assert agreements["broken"].sum() > 20
    assert summed(agreements, SPLIT, ["one", "broken", "owed", "lost"]) == read(
        marts,
        "kpi_agreements",
        ["month_date", "segment_code"],
        ["agreement_count", "broken_count", "covered_amount", "broken_amount"],
    )


def test_contracts_are_lost_the_same(
    marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame, facts: dict[str, pd.DataFrame]
) -> None:
    contracts = facts["subscriptions"].reset_index(drop=True)
    contracts["segment"] = contracts["customer_id"].map(charges.groupby("customer")["segment"].first())
    changes = facts["standing_changes"]
    met = changes.merge(contracts[["subscription_id", "end_date"]], on="subscription_id")
    met = met[met["published_date"] <= met["end_date"]].sort_values("change_id")
    last = met.groupby("subscription_id")["standing_code"].last()
    lost = set(last[last.isin(["suspended", "cancellation_proposed"])].index)
    newest = contracts.groupby("customer_id")["start_date"].max()
    is_back = (contracts["customer_id"].map(newest) > contracts["end_date"]) & (
        contracts["customer_id"].map(newest) <= AS_OF
    )
    months = []
    for month in pd.date_range("2017-06-01", AS_OF, freq="MS"):
        after = month + pd.DateOffset(months=1)
        runs = contracts[(contracts["start_date"] < after) & ~(contracts["end_date"] < month)].assign(month=month)
        runs["active"] = runs["start_date"] < month
        runs["ended"] = runs["end_date"] < after
        runs["unpaid"] = runs["ended"] & runs["subscription_id"].isin(lost)
        runs["back"] = runs["unpaid"] & is_back
        months.append(runs)
    runs = pd.concat(months)
    assert runs["unpaid"].sum() > runs["back"].sum() > 0
    assert summed(runs, SPLIT, ["active", "ended", "unpaid", "back"]) == read(
        marts,
        "kpi_churn",
        ["month_date", "segment_code"],
        ["active_count", "ended_count", "unpaid_count", "recovered_count"],
    )


def test_holding_customers_out_measures_the_same(marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    decisions = marts.execute(
        "select invoice_id, step_code, as_of_date, cycle_date, open_amount, outcome_code = 'holdout' as is_holdout "
        "from fct_dunning_decisions where outcome_code in ('eligible', 'holdout')"
    ).df()
    decisions = decisions.sort_values("as_of_date").drop_duplicates(["invoice_id", "step_code", "cycle_date"])
    decisions = decisions[decisions["as_of_date"] + 7 * DAY <= AS_OF]
    decisions = decisions[decisions["step_code"].isin(decisions.loc[decisions["is_holdout"], "step_code"])]
    found = decisions.merge(charges, left_on="invoice_id", right_on="invoice")
    found["is_paid"] = (found["paid"] >= found["as_of_date"]) & (found["paid"] <= found["as_of_date"] + 7 * DAY)
    ours = marts.execute(
        "select step_code, treated_count, treated_paid_count, holdout_count, holdout_paid_count, "
        "lift_pct::double, lift_low_pct::double, lift_high_pct::double from kpi_experiments order by all"
    ).fetchall()
    theirs = []
    for step, of in found.groupby("step_code"):
        treated, held = of.loc[~of["is_holdout"], "is_paid"], of.loc[of["is_holdout"], "is_paid"]
        lift = treated.mean() - held.mean()
        error = 1.959964 * np.sqrt(treated.var(ddof=0) / len(treated) + held.var(ddof=0) / len(held))
        shares = [100 * lift, 100 * (lift - error), 100 * (lift + error)]
        theirs.append((step, len(treated), treated.sum(), len(held), held.sum(), *shares))
    assert len(ours) == len(theirs) >= 2
    for row, other in zip(ours, theirs, strict=True):
        assert row[:5] == other[:5]
        assert row[5:] == pytest.approx(other[5:], abs=0.0051, nan_ok=True)


def test_cash_is_expected_the_same(marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    known = charges[charges["issued"] <= AS_OF]

    def open_on(day: pd.Timestamp) -> pd.DataFrame:
        standing = known[(known["issued"] <= day) & ~(known["paid"] <= day)]
        weeks = ((day - standing["due"]).dt.days // 7).clip(-9, 26)
        return standing.assign(week=weeks)

    def expected(origin: pd.Timestamp) -> list[int]:
        history = []
        for day in (origin - 7 * (number + 1) * DAY for number in range(26)):
            standing = open_on(day)
            is_paid = standing["paid"] <= day + 7 * DAY
            history.append(standing.assign(collected=standing["cents"].where(is_paid, 0)))
        sums = pd.concat(history).groupby("week")[["cents", "collected"]].sum()
        share = {
            int(week): (int(row["collected"]) * 20000 + int(row["cents"])) // (2 * int(row["cents"]))
            for week, row in sums.iterrows()
        }
        left = [(int(week), int(cents)) for week, cents in open_on(origin).groupby("week")["cents"].sum().items()]
        totals = []
        for _ in range(12):
            paid = [(cents * share.get(week, 0) * 2 + 10000) // 20000 for week, cents in left]
            totals.append(sum(paid))
            left = [(min(week + 1, 26), cents - part) for (week, cents), part in zip(left, paid, strict=True)]
        return totals

    misses, collected = 0, 0
    for number in range(1, 7):
        origin = AS_OF - 28 * number * DAY
        standing = open_on(origin)
        came = int(standing.loc[standing["paid"] <= origin + 28 * DAY, "cents"].sum())
        misses += abs(sum(expected(origin)[:4]) - came)
        collected += came
    ours = marts.execute(
        "select (expected_amount * 100)::bigint, (error_pct * 100)::bigint from kpi_cash_forecast order by week_number"
    ).fetchall()
    error = (misses * 20000 + collected) // (2 * collected)
    assert ours == [(cents, error) for cents in expected(AS_OF)]
