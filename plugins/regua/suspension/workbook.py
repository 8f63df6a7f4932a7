"""The newest list as a spreadsheet for people, with names, made when somebody asks for it. No cell can run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from regua.durable_file import write_whole
from regua.errors import BusyError, InputError
from regua.suspension.standing import Entry

# As far as Excel's sheets go, less what stands above the rows.
_ROW_LIMIT = 1_048_576 - 2
_LABELS = {
    "regular": "regular",
    "notice": "aviso",
    "suspended": "suspensa",
    "cancellation_proposed": "cancelamento proposto",
    "trust_unlock": "desbloqueio de confiança",
    "reactivated": "reativada",
    "suspend": "suspender",
    "keep": "manter suspensa",
    "reactivate": "reativar",
    "unlock_expiring": "desbloqueio vencendo",
    "propose_cancellation": "propor cancelamento",
    "over_threshold": "prazo da política vencido",
    "unlock_ended": "desbloqueio terminou sem pagamento",
    "paid": "pago",
    "payment_received": "pagamento recebido",
    "disputed": "contestada",
    "under_agreement": "em acordo",
    "exempt": "isenta",
    "paused": "em pausa",
    "promise_open": "promessa de pagamento",
    "in_clearing": "em compensação",
    "prescribed": "prescrita",
    "quarantined": "em quarentena",
    "below_tolerance": "abaixo da tolerância",
    "period_paid": "período corrente pago",
    "not_running": "contrato não vigente",
    "no_clause": "contrato sem cláusula",
    "notice_missing": "falta aviso entregue",
    "below_threshold": "dentro do prazo da política",
    "awaits_approval": "aguarda aprovação",
    "cancelled": "fatura cancelada",
    "written_off": "fatura baixada",
}


class _Column(NamedTuple):
    header: str
    width: int
    value: Callable[[Entry, Mapping[str, str]], str | int | Decimal | date | None]


_WHO = (
    _Column("Assinatura", 22, lambda entry, _: entry.subscription_id),
    _Column("Cliente", 18, lambda entry, _: entry.customer_id),
    _Column("Nome", 40, lambda entry, names: names.get(entry.customer_id)),
)
_STANDING = (
    _Column("Situação", 26, lambda entry, _: _label(entry.standing_code)),
    _Column("Desde", 12, lambda entry, _: entry.since_date),
    _Column("Motivo", 34, lambda entry, _: _label(entry.reason_code)),
)
_DEBT = (
    _Column("Fatura mais antiga", 22, lambda entry, _: entry.debt.oldest_invoice_id),
    _Column("Vencimento", 12, lambda entry, _: entry.debt.oldest_due_date),
    _Column("Dias de atraso", 15, lambda entry, _: entry.debt.days_past_due),
    _Column("Faturas", 10, lambda entry, _: entry.debt.invoice_count),
    _Column("Saldo", 18, lambda entry, _: entry.debt.balance_amount),
)
_UNLOCKED = _Column("Liberada até", 14, lambda entry, _: entry.unlocked_until_date)
_SHEETS: tuple[tuple[str, tuple[_Column, ...], Callable[[Entry], bool]], ...] = (
    (
        "Suspensos",
        (
            *_WHO,
            *_STANDING,
            *_DEBT,
            _Column("Aviso entregue em", 19, lambda entry, _: entry.debt.notice_delivered_date),
        ),
        lambda entry: not entry.has_access,
    ),
    (
        "Mudanças",
        (
            *_WHO,
            _Column("Mudança", 22, lambda entry, _: _label(entry.change_code)),
            *_STANDING,
            _Column("Acesso", 10, lambda entry, _: "sim" if entry.has_access else "não"),
            _UNLOCKED,
            *_DEBT,
        ),
        lambda entry: entry.change_code is not None,
    ),
    (
        "Avisos",
        (
            *_WHO,
            _Column("Aviso", 26, lambda entry, _: _label(entry.banner_code)),
            _UNLOCKED,
            *_DEBT,
            _Column("Link de pagamento", 60, lambda entry, _: entry.payment_url),
        ),
        lambda entry: entry.banner_code is not None,
    ),
)


def write_workbook(
    path: Path, as_of: date, sequence: int, created_at: datetime, entries: Sequence[Entry], names: Mapping[str, str]
) -> None:
    """Write the publication `sequence` of `as_of` to `path`, whole, for its owner alone to read.

    The same input gives the same bytes. Raises InputError for more rows than a sheet has, BusyError when the disk
    refuses.
    """
    content = _workbook(as_of, sequence, created_at, sorted(entries, key=lambda one: one.subscription_id), names)
    try:
        write_whole(path, content, mode=0o600)
    except OSError as error:
        raise BusyError(f"{path} cannot be written: {error.strerror}.") from error


def _workbook(
    as_of: date, sequence: int, created_at: datetime, entries: Sequence[Entry], names: Mapping[str, str]
) -> bytes:
    import xlsxwriter

    content = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "dd/mm/yyyy",
    }
    title = f"Suspensões de {as_of:%d/%m/%Y}, sequência {sequence}"
    with xlsxwriter.Workbook(content, options) as workbook:
        workbook.set_properties({"title": title, "author": "régua", "created": created_at})
        formats = _Formats(workbook)
        for sheet_name, columns, is_in in _SHEETS:
            rows = [entry for entry in entries if is_in(entry)]
            if len(rows) > _ROW_LIMIT:
                raise InputError(f"{len(rows)} rows are more than a sheet holds: use the CSV files.")
            sheet = workbook.add_worksheet(sheet_name)
            sheet.write_string(0, 0, title, formats.text)
            for place, column in enumerate(columns):
                sheet.set_column(place, place, column.width)
                sheet.write_string(1, place, column.header, formats.header)
            for number, entry in enumerate(rows, start=2):
                for place, column in enumerate(columns):
                    _write(sheet, number, place, column.value(entry, names), formats, entry.debt.currency_code)
            sheet.freeze_panes(2, 1)
            sheet.autofilter(1, 0, max(1 + len(rows), 1), len(columns) - 1)
    return content.getvalue()


class _Formats:
    """Separators of numbers are the reader's own: a Brazilian Excel shows 1.234,56."""

    def __init__(self, workbook: Any) -> None:
        self._workbook = workbook
        # With the mark that a cell is text, so that it stays one when somebody edits it.
        self.text = workbook.add_format({"quote_prefix": True})
        self.header = workbook.add_format({"bold": True, "bottom": 1})
        self.day = workbook.add_format({"num_format": "dd/mm/yyyy"})
        self._money: dict[str, Any] = {}

    def money(self, currency_code: str | None) -> Any:
        sign = "R$" if currency_code == "BRL" else currency_code or ""
        if sign not in self._money:
            pattern = f'"{sign}" #,##0.00' if sign else "#,##0.00"
            self._money[sign] = self._workbook.add_format({"num_format": pattern})
        return self._money[sign]


def _write(
    sheet: Any,
    row: int,
    place: int,
    value: str | int | Decimal | date | None,
    formats: _Formats,
    currency_code: str | None,
) -> None:
    if value is None:
        return
    if isinstance(value, Decimal):
        sheet.write_number(row, place, float(value), formats.money(currency_code))
    elif isinstance(value, int):
        sheet.write_number(row, place, value)
    elif isinstance(value, date):
        sheet.write_datetime(row, place, value, formats.day)
    else:
        sheet.write_string(row, place, value, formats.text)


def _label(code: str | None) -> str | None:
    return None if code is None else _LABELS.get(code, code)
