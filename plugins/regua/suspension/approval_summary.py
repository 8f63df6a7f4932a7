"""What a person reads before saying yes or no to a list above its caps: Markdown in Portuguese, ids and amounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from regua.suspension.found_night import Candidate, FoundNight
from regua.suspension.standing import Change, Entry

_LARGEST = 10
_BANDS = ((30, "até 30"), (60, "31 a 60"), (90, "61 a 90"))
_OLDER = "mais de 90"


def summarise(
    night: FoundNight,
    before: Mapping[str, Entry],
    entries: Sequence[Entry],
    added: Sequence[Candidate],
    over: Sequence[str],
    last: Any,
) -> str:
    """How many, who is largest, what changed since the list before, why it is asked. `last` is that list's row."""
    suspended = [entry for entry in entries if entry.change_code is Change.SUSPEND]
    back = sum(entry.change_code is Change.REACTIVATE for entry in entries)
    without_before = sum(not entry.has_access for entry in before.values())
    without_now = sum(not entry.has_access for entry in entries)
    lines = [f"### Suspensões de {night.as_of:%d/%m/%Y}", ""]
    if over:
        lines += ["**Por que você é perguntado:** " + "; ".join(over) + ".", ""]
        # The words on the buttons, and of the commands, are English.
        lines += [
            "**Approve** publica agora o que passou do limite. Com **Reject**, ou sem resposta a tempo, nada disto é "
            "publicado. Quem volta a ter acesso não espera por você.",
            "",
        ]
    since = f"a lista de {last.as_of_date:%d/%m/%Y}" if last is not None else "nunca houve lista"
    lines += [
        "| | |",
        "|---|---:|",
        f"| Sem acesso até aqui ({since}) | {without_before} |",
        f"| Perdem o acesso | **{len(suspended)}** |",
        f"| Voltam a ter acesso | {back} |",
        f"| Sem acesso depois disto | {without_now} |",
        f"| Inclusões no bureau de crédito | {len(added)} |",
        f"| Assinaturas ativas | {night.active_count} |",
        *(f"| Saldo dos que perdem o acesso ({code}) | {_money(total)} |" for code, total in _totals(suspended)),
        "",
    ]
    if suspended:
        ages = Counter(_age(entry) for entry in suspended)
        labels = [*(label for _, label in _BANDS), _OLDER]
        lines += [
            f"| Dias de atraso da fatura mais antiga | {' | '.join(labels)} |",
            f"|---|{'---:|' * len(labels)}",
            f"| Perdem o acesso | {' | '.join(str(ages[label]) for label in labels)} |",
            "",
        ]
        lines += [f"**Os {min(_LARGEST, len(suspended))} maiores saldos dos que perdem o acesso**", ""]
        lines += [
            "| Assinatura | Cliente | Saldo | Dias | Fatura mais antiga | Aviso entregue em |",
            "|---|---|---:|---:|---|---|",
        ]
        largest = sorted(suspended, key=lambda entry: (-entry.debt.balance_amount, entry.subscription_id))
        lines += [_row(entry) for entry in largest[:_LARGEST]]
        lines += [
            "",
            "Todos passaram dos limites da sua política, com aviso entregue e prazo cumprido: `regua explain CLIENTE`.",
        ]
    return "\n".join(lines)


def _row(entry: Entry) -> str:
    debt = entry.debt
    delivered = f"{debt.notice_delivered_date:%d/%m/%Y}" if debt.notice_delivered_date else ""
    return (
        f"| {entry.subscription_id} | {entry.customer_id} | {debt.currency_code} {_money(debt.balance_amount)} "
        f"| {debt.days_past_due} | {debt.oldest_invoice_id} | {delivered} |"
    )


def _totals(entries: Sequence[Entry]) -> list[tuple[str, Decimal]]:
    totals: dict[str, Decimal] = {}
    for entry in entries:
        code = entry.debt.currency_code or ""
        totals[code] = totals.get(code, Decimal(0)) + entry.debt.balance_amount
    return sorted(totals.items())


def _age(entry: Entry) -> str:
    days = entry.debt.days_past_due or 0
    return next((label for highest, label in _BANDS if days <= highest), _OLDER)


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
