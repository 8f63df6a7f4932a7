"""Random small portfolios in which every rule of docs/reference/ladder.md has something to do.

Each customer is made from a number of its own and each kind of fact by dice of its own, so that leaving one out, as
Hypothesis does to find a smaller example, changes nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from tests.oracle.ladder_oracle import DayResult
from tests.oracle.made_policies import CHANGING, CODES, UNKNOWN, policies_for
from tests.oracle.scenario import LONG_BEFORE, SOURCE, Rejection, Scenario, Version, decide_by_oracle

from regua.policy.policies import Policies

# Before Carnival, around the end of February, around Tiradentes, around 20 November, and over the year's end.
FIRST_DAYS = (date(2026, 2, 10), date(2026, 2, 23), date(2026, 4, 15), date(2025, 11, 14), date(2025, 12, 22))
KINDS = (
    "people",
    "merges",
    "history",
    "payments",
    "reversals",
    "credits",
    "endings",
    "contact_points",
    "consents",
    "agreements",
    "promises",
    "disputes",
    "exemptions",
    "pauses",
    "trust_unlocks",
    "waivers",
    "policies",
    "touches",
    "echoes",
    "rejections",
    "late_knowledge",
)
CHANNELS = ("email", "sms", "whatsapp", "letter", "call")
CENT = Decimal("0.01")
OTHER_SOURCE = "bank"


@dataclass(frozen=True)
class Recipe:
    """What a scenario is made from. `rates` say how much of each kind of fact there is: 0 none, 1 some, 2 plenty."""

    customers: Sequence[int]
    first_day: date
    day_count: int
    policy_seed: int
    rates: Mapping[str, int]
    silent_nights: frozenset[int] = frozenset()
    missed_nights: frozenset[int] = frozenset()
    has_two_sources: bool = False

    @property
    def days(self) -> list[date]:
        return [self.first_day + timedelta(days=number) for number in range(self.day_count)]

    def scenario(self) -> Scenario:
        policies = policies_for(self.policy_seed, self.days)
        versions: list[Version] = []
        rejections: list[Rejection] = []
        for number in self.customers:
            maker = _Maker(self, policies, number)
            versions += maker.versions()
            rejections += maker.rejections()
        missed = frozenset(self.days[number] for number in self.missed_nights)
        scenario = Scenario(policies, self.days, versions, rejections, self._heard(), missed, name=repr(self))
        if self.rates["echoes"]:
            echoes = _echoes(scenario, decide_by_oracle(scenario), self.rates["echoes"])
            scenario = replace(scenario, versions=[*scenario.versions, *echoes])
        return scenario

    def _heard(self) -> dict[str, list[date]]:
        heard = {SOURCE: [self.first_day - timedelta(days=10)]}
        heard[SOURCE] += [day for number, day in enumerate(self.days) if number not in self.silent_nights]
        if self.has_two_sources:
            heard[OTHER_SOURCE] = self.days[1::2]
        return heard


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    day_count = draw(st.integers(8, 11), label="days")
    return Recipe(
        customers=draw(st.lists(st.integers(0, 9999), unique=True, min_size=20, max_size=40), label="customers"),
        first_day=draw(st.sampled_from(FIRST_DAYS), label="first day"),
        day_count=day_count,
        policy_seed=draw(st.integers(0, 9999), label="policies"),
        rates={kind: draw(st.sampled_from((0, 0, 1, 1, 2)), label=kind) for kind in KINDS},
        silent_nights=draw(st.frozensets(st.integers(0, day_count - 1), max_size=6), label="silent nights"),
        missed_nights=draw(st.frozensets(st.integers(0, day_count - 1), max_size=3), label="missed nights"),
        has_two_sources=draw(st.booleans(), label="two sources"),
    )


def random_recipe(seed: int) -> Recipe:
    """As Hypothesis would draw it, for scenarios that are to be the same whatever Hypothesis draws."""
    dice = random.Random(seed)  # noqa: S311 - the same recipe in every run
    day_count = dice.randint(8, 13)
    return Recipe(
        customers=dice.sample(range(10_000), dice.randint(24, 40)),
        first_day=dice.choice(FIRST_DAYS),
        day_count=day_count,
        policy_seed=dice.randint(0, 9999),
        rates={kind: dice.choice((0, 0, 1, 1, 2)) for kind in KINDS},
        silent_nights=frozenset(dice.sample(range(day_count), dice.choice((0, 1, 3, 6)))),
        missed_nights=frozenset(dice.sample(range(day_count), dice.choice((0, 0, 1, 3)))),
        has_two_sources=dice.random() < 0.3,
    )


class _Dice(random.Random):
    """Dice whose chances grow with the rate of their kind."""

    def __init__(self, seed: str, rate: int) -> None:
        super().__init__(seed)
        self.rate = rate

    def chance(self, probability: float) -> bool:
        return self.random() < probability * self.rate

    def day(self, first: date, earliest: int, latest: int) -> date:
        return first + timedelta(days=self.randint(earliest, latest))


class _Maker:
    """One customer and all that is known of it."""

    def __init__(self, recipe: Recipe, policies: Policies, number: int) -> None:
        self.recipe = recipe
        self.policies = policies
        self.number = number
        self.customer_id = f"c{number}"
        self.first_day = recipe.first_day
        self.last_day = recipe.days[-1]
        self.invoices = [*self._invoices()]

    def dice(self, kind: str) -> _Dice:
        return _Dice(f"{self.number}:{kind}", self.recipe.rates.get(kind, 1))

    def versions(self) -> list[Version]:
        made = [
            *(Version("invoices", invoice) for invoice in self.invoices),
            *self._customers(),
            *self._subscriptions(),
            *self._history(),
            *self._payments(),
            *self._credits(),
            *self._contact_points(),
            *self._consents(),
            *self._agreements(),
            *self._promises(),
            *self._held("disputes", "dispute_id", 0.15, of_customer=False),
            *self._held("exemptions", "exemption_id", 0.07),
            *self._held("pauses", "pause_id", 0.15, of_invoice=False, needs_end=True),
            *self._held("trust_unlocks", "trust_unlock_id", 0.2, of_invoice=False, needs_end=True),
            *self._waivers(),
            *self._touches(),
            *self._notices(),
        ]
        return [*self._learnt_late(made)]

    # Whom -------------------------------------------------------------------------------------------------------------

    def _customers(self) -> Iterator[Version]:
        dice = self.dice("people")
        number = self.number
        phones = (f"+55119{number:08}", f"+55113{number:07}", None)
        row = {
            "customer_id": self.customer_id,
            "person_type_code": dice.choice(("individual", "company", "company", None)),
            "email": f"c{number}@example.com" if dice.random() < 0.85 else None,
            "phone": dice.choices(phones, (7, 2, 2))[0],
            "state_code": dice.choice(("SP", "SP", "RJ", "AM", None)),
            "segment_code": dice.choice(("medio", "corporativo", "pme", "varejo", None)),
            "policy_code": self._policy_code(self.dice("policies"), 0.3),
        }
        merges = self.dice("merges")
        if merges.chance(0.04):
            return
        if merges.chance(0.2):
            row["merged_into_customer_id"] = f"c{merges.choice(self.recipe.customers)}"
        elif merges.chance(0.04):
            row["merged_into_customer_id"] = "nobody"
        elif merges.chance(0.04):
            links = [f"{self.customer_id}.{link}" for link in range(1, merges.randint(6, 10))]
            row["merged_into_customer_id"] = links[0]
            for link, following in zip(links, [*links[1:], None], strict=True):
                yield Version(
                    "customers",
                    row | {"customer_id": link, "merged_into_customer_id": following, "email": f"{link}@example.com"},
                )
        yield Version("customers", row)

    def _policy_code(self, dice: _Dice, probability: float) -> str | None:
        if not dice.chance(probability):
            return None
        return UNKNOWN if dice.random() < 0.06 else dice.choice((*CODES, CHANGING, CHANGING))

    def _subscriptions(self) -> Iterator[Version]:
        dice = self.dice("subscriptions")
        clause = dice.choice((True, True, True, False, None))
        if dice.chance(0.9):
            row = {"subscription_id": f"s{self.number}", "customer_id": self.customer_id}
            yield Version("subscriptions", row | {"has_suspension_clause": clause})

    # What is owed -----------------------------------------------------------------------------------------------------

    def _invoices(self) -> Iterator[dict[str, Any]]:
        for position in range(self.dice("invoices").randint(1, 4)):
            dice = self.dice(f"invoice {position}")
            due_date = self._due_date(dice)
            issue_date = due_date - timedelta(days=dice.randint(0, 30))
            if dice.random() < 0.08:
                issue_date = dice.day(self.first_day, 0, 6)
                due_date = issue_date + timedelta(days=dice.randint(-1, 6))
            yield {
                "invoice_id": f"i{self.number}-{position}",
                "customer_id": self.customer_id,
                "subscription_id": f"s{self.number}" if dice.random() < 0.8 else None,
                "issue_date": issue_date,
                "due_date": due_date,
                "amount": self._amount(dice),
                "currency_code": dice.choice(("BRL", "BRL", "BRL", "USD")),
                "calendar_code": dice.choice(("br-bank", "br-bank", "plain")),
                "payment_method_code": dice.choice(("boleto", "boleto", "pix", "pix_automatico", "card", None)),
                "policy_code": self._policy_code(self.dice(f"policies {position}"), 0.1),
            } | self._ending(position, issue_date)

    def _due_date(self, dice: _Dice) -> date:
        """So many days before or after the first day that the window crosses the ladder's steps."""
        past_due = dice.choice((dice.randint(-12, 3), dice.randint(-5, 20), dice.randint(10, 50), dice.randint(50, 70)))
        due_date = self.first_day - timedelta(days=past_due)
        if dice.random() < 0.08:
            due_date = dice.day(self.first_day, -2, 8)
            due_date = date(due_date.year - dice.choice((5, 6, 1)), due_date.month, min(due_date.day, 28))
            if due_date.month == 2 and due_date.year == 2020:
                due_date = date(2020, 2, 29)
        return due_date

    def _amount(self, dice: _Dice) -> Decimal:
        cents = dice.choice((dice.randint(100, 9_999), dice.randint(10_000, 900_000), dice.randint(2_000, 90_000)))
        if dice.random() < 0.25:
            cents = dice.choice((dice.randint(1, 9), 10_000, 1_000, 2_001))
        return (Decimal(cents) / 100).quantize(CENT)

    def _ending(self, position: int, issue_date: date) -> dict[str, Any]:
        dice = self.dice(f"endings {position}")
        dice.rate = self.recipe.rates["endings"]
        if not dice.chance(0.12):
            return {}
        code = dice.choice(("draft", "cancelled", "written_off"))
        if code == "draft":
            return {"status_code": code}
        on = dice.choice((None, dice.day(self.first_day, -3, 10), dice.day(self.first_day, 0, 10)))
        return {"status_code": code if on is None or dice.random() < 0.7 else "open", f"{code}_date": on}

    def _history(self) -> Iterator[Version]:
        """Invoices of before, paid in time or late, for the payer's record."""
        dice = self.dice("history")
        if not dice.chance(0.6):
            return
        temper = dice.choice((0, 5, 30))
        for number in range(dice.randint(1, 6)):
            due_date = dice.day(self.first_day, -400, -60)
            paid_date = due_date + timedelta(days=dice.randint(-5, 3 + temper))
            invoice_id, currency = f"h{self.number}-{number}", dice.choice(("BRL", "BRL", "USD"))
            amount = Decimal(dice.randint(1000, 90_000)) / 100
            yield Version(
                "invoices",
                {"invoice_id": invoice_id, "customer_id": self.customer_id, "issue_date": due_date, "amount": amount}
                | {"due_date": due_date, "currency_code": currency},
            )
            yield Version(
                "payments",
                {"payment_id": f"p{invoice_id}", "invoice_id": invoice_id, "payment_date": paid_date}
                | {"amount": amount + dice.choice((0, 0, 0, 0, CENT)), "currency_code": currency},
            )

    def _payments(self) -> Iterator[Version]:
        for invoice in self.invoices:
            dice = self.dice(f"payments {invoice['invoice_id']}")
            dice.rate = self.recipe.rates["payments"]
            reversing = self.dice(f"reversals {invoice['invoice_id']}")
            reversing.rate = self.recipe.rates["reversals"]
            if not dice.chance(0.45):
                continue
            for number, amount in enumerate(_split(invoice["amount"], dice)):
                day = dice.choice((dice.day(self.first_day, 0, 10), dice.day(invoice["due_date"], -4, 6)))
                row = {
                    "payment_id": f"p{invoice['invoice_id']}-{number}",
                    "invoice_id": invoice["invoice_id"],
                    "payment_date": day,
                    "amount": amount,
                    "currency_code": "EUR" if dice.random() < 0.03 else invoice["currency_code"],
                }
                if reversing.chance(0.35):
                    yield from self._reversed(row, reversing)
                elif reversing.random() < 0.7:
                    yield Version("payments", row, known_from=day)
                else:
                    # Announced: told of long before the day on which it takes effect.
                    yield Version("payments", row)

    def _reversed(self, row: dict[str, Any], dice: _Dice) -> Iterator[Version]:
        """Either known from the first, or by another version of the payment on the day of the reversal."""
        reversed_date = dice.choice(
            (row["payment_date"] + timedelta(days=dice.randint(-1, 12)), dice.day(self.first_day, 0, 9))
        )
        undone = row | {"reversed_date": reversed_date}
        learnt_on = reversed_date + timedelta(days=dice.randint(0, 2))
        if dice.random() < 0.5 or learnt_on <= self.first_day:
            yield Version("payments", undone)
        else:
            yield Version("payments", row, replaced_on=learnt_on)
            yield Version("payments", undone, known_from=learnt_on)

    def _credits(self) -> Iterator[Version]:
        dice = self.dice("credits")
        for number in range(2):
            if not dice.chance(0.18):
                continue
            invoice = dice.choice(self.invoices)
            amount = dice.choice(
                (invoice["amount"], invoice["amount"] + CENT, max(CENT, invoice["amount"] - CENT), Decimal("15.00"))
            )
            row = {"credit_id": f"k{self.number}-{number}", "customer_id": self.customer_id, "amount": amount}
            row |= {"currency_code": invoice["currency_code"], "applied_date": dice.day(self.first_day, -6, 9)}
            if dice.random() < 0.4:
                row["invoice_id"] = invoice["invoice_id"]
            yield Version("credits", row)

    # What is said -----------------------------------------------------------------------------------------------------

    def _contact_points(self) -> Iterator[Version]:
        dice = self.dice("contact_points")
        for number in range(4):
            if not dice.chance(0.3):
                continue
            kind = dice.choice(("email", "phone", "phone", "whatsapp", "postal_address", "postal_address"))
            mobile, fixed = f"+55219{self.number:07}{number}", f"+55213{self.number:06}{number}"
            addresses = {"email": f"p{number}.{self.customer_id}@example.com", "postal_address": "Rua Um, 1"}
            row = {
                "contact_point_id": f"a{self.number}-{number}",
                "customer_id": self.customer_id,
                "contact_type_code": kind,
                "address": None if dice.random() < 0.12 else addresses.get(kind, dice.choice((mobile, mobile, fixed))),
                "undeliverable_date": dice.choice((None, None, None, dice.day(self.first_day, -5, 9))),
            }
            yield Version("contact_points", row | self._span(dice))

    def _consents(self) -> Iterator[Version]:
        dice = self.dice("consents")
        for number, channel in enumerate((*CHANNELS, "whatsapp", "email")):
            if not dice.chance(0.35 if channel == "whatsapp" else 0.07):
                continue
            is_opted_in = dice.random() < (0.8 if channel == "whatsapp" else 0.3)
            row = {"consent_id": f"w{self.number}-{number}", "customer_id": self.customer_id, "channel_code": channel}
            yield Version("consents", row | {"is_opted_in": is_opted_in} | self._span(dice))

    def _agreements(self) -> Iterator[Version]:
        dice = self.dice("agreements")
        if not dice.chance(0.2):
            return
        agreement_id = f"g{self.number}"
        broken_date = dice.choice((None, dice.day(self.first_day, 0, 9)))
        row = {"agreement_id": agreement_id, "customer_id": self.customer_id, "broken_date": broken_date}
        yield Version("agreements", row | self._span(dice))
        for number, invoice in enumerate(self.invoices):
            if dice.random() < 0.6:
                row = {"agreement_invoice_id": f"{agreement_id}-{number}", "agreement_id": agreement_id}
                span = {"valid_from_date": LONG_BEFORE} if dice.random() < 0.7 else self._span(dice)
                yield Version("agreement_invoices", row | {"invoice_id": invoice["invoice_id"]} | span)

    def _promises(self) -> Iterator[Version]:
        dice = self.dice("promises")
        for number in range(2):
            if not dice.chance(0.2):
                continue
            span = self._span(dice)
            promised_date = max(span["valid_from_date"], dice.day(self.first_day, -6, 8))
            row = {"promise_id": f"m{self.number}-{number}", "promised_date": promised_date, "currency_code": "BRL"}
            yield Version("promises", row | span | self._whose(dice))

    def _waivers(self) -> Iterator[Version]:
        dice = self.dice("waivers")
        for number in range(2):
            if dice.chance(0.2):
                row = {"waiver_id": f"v{self.number}-{number}", "waived_pct": dice.choice((50, Decimal("33.33"), 100))}
                yield Version("waivers", row | self._span(dice) | self._whose(dice))

    def _held(
        self,
        entity: str,
        key: str,
        probability: float,
        *,
        of_customer: bool = True,
        of_invoice: bool = True,
        needs_end: bool = False,
    ) -> Iterator[Version]:
        dice = self.dice(entity)
        for number in range(2):
            if not dice.chance(probability):
                continue
            row = {key: f"{entity}{self.number}-{number}"} | self._span(dice, needs_end=needs_end)
            if not of_invoice:
                row["customer_id"] = self.customer_id
            elif not of_customer:
                row["invoice_id"] = dice.choice(self.invoices)["invoice_id"]
            else:
                row |= self._whose(dice)
            yield Version(entity, row)

    def _whose(self, dice: _Dice) -> dict[str, Any]:
        invoice_id = dice.choice(self.invoices)["invoice_id"]
        return dice.choice(
            (
                {"customer_id": self.customer_id},
                {"invoice_id": invoice_id},
                {"customer_id": self.customer_id, "invoice_id": invoice_id},
            )
        )

    def _span(self, dice: _Dice, *, needs_end: bool = False) -> dict[str, date | None]:
        """Days on which a fact holds; some begin or end within the window."""
        begin = dice.choice((self.first_day - timedelta(days=20), dice.day(self.first_day, -8, 8)))
        ends = [begin + timedelta(days=dice.randint(0, 8)), dice.day(self.first_day, 0, 9)]
        end = dice.choice(ends if needs_end else [None, None, *ends])
        return {"valid_from_date": begin, "valid_to_date": end}

    # What was sent, and what is known ---------------------------------------------------------------------------------

    def _touches(self) -> Iterator[Version]:
        """Messages of before, by the steps of the policies there are, and some that nobody planned."""
        dice = self.dice("touches")
        for invoice in self.invoices:
            if not dice.chance(0.4):
                continue
            policy = self.policies.by_code.get(invoice["policy_code"] or "", self.policies.default)
            version = dice.choice(policy.versions)
            for number, step in enumerate(version.content.steps):
                planned_date = invoice["due_date"] + timedelta(days=step.offset_days + dice.randint(0, 2))
                if dice.random() < 0.15:
                    planned_date = dice.day(self.first_day, -3, 9)
                elif planned_date >= self.first_day or dice.random() < 0.4:
                    continue
                row = {
                    "touch_id": f"t{invoice['invoice_id']}-{number}",
                    "customer_id": self.customer_id,
                    "invoice_id": invoice["invoice_id"],
                    "step_code": step.code if dice.random() < 0.9 else "a_step_of_before",
                    "channel_code": step.channel if dice.random() < 0.9 else dice.choice(CHANNELS),
                    "cycle_date": dice.choice(
                        (None, invoice["due_date"], invoice["due_date"], invoice["due_date"] + timedelta(days=3))
                    ),
                    "planned_date": planned_date,
                }
                yield Version("touches", row | _fate(planned_date, dice))

    def _notices(self) -> Iterator[Version]:
        """Notices that went out before the first day: without them nobody is suspended or on the bureau list."""
        dice = self.dice("notices")
        for invoice in self.invoices:
            policy = self.policies.by_code.get(invoice["policy_code"] or "", self.policies.default)
            for step in policy.versions[0].content.steps:
                planned_date = invoice["due_date"] + timedelta(days=step.offset_days)
                if step.notice is None or planned_date >= self.first_day or not dice.chance(0.7):
                    continue
                row = {
                    "touch_id": f"n{invoice['invoice_id']}-{step.code}",
                    "customer_id": self.customer_id,
                    "invoice_id": invoice["invoice_id"],
                    "step_code": step.code,
                    "channel_code": step.channel,
                    "planned_date": planned_date,
                }
                yield Version("touches", row | _fate(planned_date, dice))

    def rejections(self) -> Iterator[Rejection]:
        dice = self.dice("rejections")
        if not dice.chance(0.1):
            return
        entity = dice.choice(("customers", "invoices", "payments", "credits", "consents"))
        invoice_id = dice.choice(self.invoices)["invoice_id"]
        known_from = dice.choice((self.first_day - timedelta(days=9), dice.day(self.first_day, 0, 5)))
        keys = {"customers": self.customer_id, "invoices": invoice_id}
        yield Rejection(
            entity=entity,
            key_text=keys.get(entity, f"refused{self.number}"),
            invoice_key_text=invoice_id if entity in ("payments", "credits") else None,
            known_from=known_from,
            replaced_on=dice.choice((None, None, known_from + timedelta(days=dice.randint(1, 5)))),
            mode=dice.choice(("delta", "snapshot")),
        )

    def _learnt_late(self, versions: Sequence[Version]) -> Iterator[Version]:
        """Some facts are heard of only in the window, and some are taken back in it."""
        dice = self.dice("late_knowledge")
        for version in versions:
            if version.entity in ("customers", "invoices", "subscriptions"):
                yield version
            elif version.known_from == LONG_BEFORE and version.replaced_on is None and dice.chance(0.1):
                day = dice.day(self.first_day, 1, 7)
                if dice.random() < 0.75:
                    yield replace(version, known_from=day)
                else:
                    yield replace(version, replaced_on=day)
            else:
                yield version


def _split(amount: Decimal, dice: _Dice) -> list[Decimal]:
    """What is paid of an amount: nearly nothing, nearly all, all, a cent more, a lot more, or all in two parts."""
    half = (amount / 2).quantize(CENT)
    parts = dice.choice(
        (
            [CENT],
            [amount - CENT],
            [amount],
            [amount],
            [amount + CENT],
            [amount + 50],
            [half, amount - half],
            [half],
            [amount, amount],
        )
    )
    return [part for part in parts if part > 0]


def _fate(planned_date: date, dice: random.Random) -> dict[str, Any]:
    fate_code = dice.choice(("sent", "unknown", "delivered", "delivered", "delivered", "bounced", "not_sent"))
    delivered_date = planned_date + timedelta(days=dice.randint(0, 2))
    is_dated = fate_code == "delivered" and dice.random() < 0.7
    return {"fate_code": fate_code, "delivered_date": delivered_date if is_dated else None}


def _echoes(scenario: Scenario, results: Mapping[date, DayResult], rate: int) -> Iterator[Version]:
    """What the ledger would tell, the day after, of the messages that a first run decided."""
    for as_of, result in results.items():
        for (invoice_id, step_code), decision in result.decisions.items():
            dice = _Dice(f"{invoice_id}:{step_code}:{as_of}", rate)
            if decision.outcome_code != "eligible" or not dice.chance(0.4):
                continue
            row = {
                "touch_id": f"e{invoice_id}-{step_code}-{as_of}",
                "customer_id": decision.contact_customer_id,
                "invoice_id": invoice_id,
                "step_code": step_code,
                "channel_code": decision.channel_code,
                "cycle_date": dice.choice((decision.cycle_date, decision.cycle_date, None)),
                "planned_date": as_of,
            }
            yield Version("touches", row | _fate(as_of, dice), known_from=as_of + timedelta(days=dice.randint(1, 3)))
