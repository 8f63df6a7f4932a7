"""The raw rows of a day for the second derivation, each where it is looked for, with the calendar and the policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from regua.policy.policies import EffectiveVersion, Policies
from regua.suspension.raw_facts import RawFacts, Rejections, Row
from regua.transform.bank_calendar import CALENDAR_CODE

_DAY = timedelta(days=1)
# A chain of merges that is longer is taken for a circle.
_MOST_LINKS = 8


class Customers:
    """Who is registered, and at whom merges end."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.by_id = {row["customer_id"]: row for row in rows}

    def end_of_merges(self, customer_id: str) -> str | None:
        """None where merges run in a circle or end at nobody who is registered."""
        for _ in range(_MOST_LINKS + 1):
            if (row := self.by_id.get(customer_id)) is None:
                return None
            merged_into: str | None = row.get("merged_into_customer_id")
            if merged_into is None or merged_into == customer_id:
                return customer_id
            customer_id = merged_into
        return None

    def contact_of(self, customer_id: str) -> str:
        return self.end_of_merges(customer_id) or customer_id


class RowIndex:
    """Rows by what they are about: one invoice or, where they name none, all of a contact customer."""

    def __init__(self, rows: Iterable[Row], customers: Customers) -> None:
        self._by_invoice: dict[str, list[Row]] = {}
        self._by_contact: dict[str, list[Row]] = {}
        for row in rows:
            if (invoice_id := row.get("invoice_id")) is not None:
                self._by_invoice.setdefault(invoice_id, []).append(row)
            elif (customer_id := row.get("customer_id")) is not None:
                self._by_contact.setdefault(customers.contact_of(customer_id), []).append(row)

    def of_invoice(self, invoice_id: str) -> Sequence[Row]:
        return self._by_invoice.get(invoice_id, ())

    def of_contact(self, contact_id: str) -> Sequence[Row]:
        return self._by_contact.get(contact_id, ())

    def about(self, invoice_id: str, contact_id: str) -> Iterator[Row]:
        yield from self.of_invoice(invoice_id)
        yield from self.of_contact(contact_id)


class PolicyBook:
    """The versions in force on a day, and which steps give a notice."""

    def __init__(self, policies: Policies, as_of: date) -> None:
        versions = {policy.code: policy.version_on(as_of) for policy in policies}
        self._codes = versions.keys()
        self._default_code = policies.default.code
        self._in_force = {code: version for code, version in versions.items() if version is not None}
        self._notices = {
            code: {step.code: step.notice for step in version.content.steps} for code, version in self._in_force.items()
        }
        self._ever_given = {
            (step.code, step.notice)
            for policy in policies
            for version in policy.content.versions
            for step in version.steps
        }

    def knows(self, code: str | None) -> bool:
        return code is None or code in self._codes

    def version_for(self, invoice: Row, contact: Row) -> EffectiveVersion:
        """The invoice's policy, or the customer's, or the one meant for such customers, or the default."""
        for code in (invoice.get("policy_code"), contact.get("policy_code")):
            if code in self._in_force:
                return self._in_force[code]
        for version in self._in_force.values():
            if _is_meant_for(version, contact):
                return version
        return self._in_force[self._default_code]

    def gives(self, version: EffectiveVersion, step_code: str, notice: str) -> bool:
        """Whether a step gives a notice by this version or, where it has no such step, by any of any policy."""
        notices = self._notices[version.policy_code]
        if step_code in notices:
            return notices[step_code] == notice
        return (step_code, notice) in self._ever_given


def _is_meant_for(version: EffectiveVersion, contact: Row) -> bool:
    applies_to = version.content.applies_to
    return (
        applies_to is not None
        and (not applies_to.segments or contact.get("segment_code") in applies_to.segments)
        and (not applies_to.person_types or contact.get("person_type_code") in applies_to.person_types)
    )


class Calendar:
    """Business days of a calendar: without weekends and holidays in that of the banks, all days in the plain one."""

    def __init__(self, holidays: frozenset[date]) -> None:
        self._holidays = holidays

    def is_business_day(self, day: date, calendar_code: str) -> bool:
        return calendar_code != CALENDAR_CODE or (day.weekday() < 5 and day not in self._holidays)

    def on_or_after(self, day: date, calendar_code: str) -> date:
        while not self.is_business_day(day, calendar_code):
            day += _DAY
        return day

    def after(self, day: date, count: int, calendar_code: str) -> date:
        """The count-th business day after a day."""
        for _ in range(count):
            day = self.on_or_after(day + _DAY, calendar_code)
        return day

    def has_between(self, first: date, last: date, count: int, calendar_code: str) -> bool:
        """Whether so many business days lie between a day and a later one, both left out."""
        return self.after(first, count, calendar_code) < last


class DayFacts:
    """The facts of a day, each where it is looked for."""

    def __init__(self, facts: RawFacts, policies: Policies, as_of: date) -> None:
        self.as_of = as_of
        self.invoices = facts.of("invoices")
        self.rejections: Rejections = facts.rejections
        self.calendar = Calendar(facts.holidays)
        self.policies = PolicyBook(policies, as_of)
        self.customers = Customers(facts.of("customers"))
        self.subscriptions = {row["subscription_id"]: row for row in facts.of("subscriptions")}
        self.kept_agreement_ids = {
            row["agreement_id"]
            for row in facts.of("agreements")
            if self.holds(row) and (row.get("broken_date") is None or as_of < row["broken_date"])
        }
        self.payments = self._index(facts, "payments")
        self.credits = self._index(facts, "credits")
        self.touches = self._index(facts, "touches")
        self.disputes = self._index(facts, "disputes")
        self.agreement_invoices = self._index(facts, "agreement_invoices")
        self.exemptions = self._index(facts, "exemptions")
        self.pauses = self._index(facts, "pauses")
        self.promises = self._index(facts, "promises")
        self.trust_unlocks = self._index(facts, "trust_unlocks")

    def holds(self, row: Row) -> bool:
        return holds_on(row, self.as_of)

    def _index(self, facts: RawFacts, entity: str) -> RowIndex:
        return RowIndex(facts.of(entity), self.customers)


def holds_on(row: Row, day: date) -> bool:
    valid_to_date: date | None = row.get("valid_to_date")
    return row["valid_from_date"] <= day and (valid_to_date is None or day <= valid_to_date)
