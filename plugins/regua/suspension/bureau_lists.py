"""The two lists for the credit bureau that go with each publication: debts to be listed, and to be taken off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regua.suspension.deciding import Listing
from regua.suspension.found_night import Candidate
from regua.suspension.machine_csv import Table, cell

ADDED_COLUMNS = (
    "invoice_id", "customer_id", "due_date", "days_past_due", "balance_amount", "currency_code", "notice_id",
    "notice_delivered_date",
)  # fmt: skip
REMOVALS_COLUMNS = (
    "invoice_id", "customer_id", "listed_date", "removal_reason_code", "removal_from_date", "remove_by_date"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BureauLists:
    """`added` are listed by this publication; `removals` are all that are due and that nobody has confirmed."""

    added: Sequence[Candidate] = ()
    removals: Sequence[Listing] = ()

    def added_table(self) -> Table:
        return Table(
            ADDED_COLUMNS,
            ("invoice_id",),
            sorted(tuple(cell(getattr(one, column)) for column in ADDED_COLUMNS) for one in self.added),
        )

    def removals_table(self) -> Table:
        return Table(
            REMOVALS_COLUMNS,
            ("invoice_id", "listed_date"),
            sorted(
                (
                    cell(one.candidate.invoice_id),
                    cell(one.candidate.customer_id),
                    *(cell(getattr(one, column)) for column in REMOVALS_COLUMNS[2:]),
                )
                for one in self.removals
            ),
        )
