"""The panel inside Airflow: a FastAPI app behind Airflow's login and permissions, mounted by plugins/regua_panel.py.

Airflow authenticates no plugin's app, so every route here asks for its user itself. Its modules are imported when
somebody asks: every Airflow process reads plugins.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

from regua.errors import ReguaError

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

# Whoever may see this DAG may see the panel; whoever may change it may look at customers one by one.
_DAG_ID = "receivables_nightly"
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_PLAIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"

app = FastAPI(title="régua", docs_url=None, redoc_url=None, openapi_url=None)


async def _user(request: Request) -> BaseUser:
    """Who asks, as Airflow knows them. Raises HTTPException 401 for nobody."""
    from airflow.api_fastapi.core_api.security import get_user

    return await get_user(request, None, await HTTPBearer(auto_error=False)(request))


def _may(user: BaseUser, method: str) -> bool:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

    allowed: bool = get_auth_manager().is_authorized_dag(
        method=method,  # type: ignore[arg-type]
        details=DagDetails(id=_DAG_ID),
        user=user,
    )
    return allowed


def _viewer(user: Annotated[Any, Depends(_user)]) -> Any:
    if not _may(user, "GET"):
        raise HTTPException(403, "Sem permissão para ver o painel.")
    return user


def _collector(user: Annotated[Any, Depends(_user)]) -> Any:
    if not _may(user, "PUT"):
        raise HTTPException(403, "Sem permissão para ver clientes: é preciso poder editar a DAG receivables_nightly.")
    return user


@app.get("/panel", response_class=HTMLResponse)
def panel(user: Annotated[Any, Depends(_viewer)]) -> HTMLResponse:
    """The page of the night that is served."""
    from regua.publish.serving import current_generation
    from regua.settings import load_settings

    try:
        text = _page(str(current_generation(load_settings())), _may(user, "PUT"))
    except ReguaError as error:
        raise HTTPException(503, str(error)) from error
    return HTMLResponse(text, headers=_HEADERS)


@app.get("/debtors", response_class=HTMLResponse)
def debtors(user: Annotated[Any, Depends(_collector)]) -> HTMLResponse:
    """The customers who owe most; that somebody looked is kept."""
    from regua.panel.debtors import largest_debtors

    rows = _looked_at(user, None, largest_debtors)
    head = ("cliente", "faturas", "vencido", "em aberto", "dias de atraso", "moeda")
    return _listing("Quem mais deve", head, rows, links_to="debtors/")


@app.get("/debtors/{customer_id:path}", response_class=HTMLResponse)
def debtor(customer_id: str, user: Annotated[Any, Depends(_collector)]) -> HTMLResponse:
    """The open invoices of one customer; that somebody looked is kept."""
    from regua.panel.debtors import open_invoices

    rows = _looked_at(user, customer_id, lambda settings: open_invoices(settings, customer_id))
    if not rows:
        raise HTTPException(404, "Este cliente não tem faturas em aberto.")
    head = ("fatura", "vencimento", "dias de atraso", "faixa", "em aberto", "moeda")
    return _listing(f"Faturas em aberto de {customer_id}", head, rows)


@lru_cache(maxsize=4)
def _page(generation: str, may_look: bool) -> str:
    """One a generation: nothing in it depends on who asks, but whether customers can be opened."""
    from regua.panel.data import panel_data
    from regua.panel.page import page
    from regua.settings import load_settings

    return page(panel_data(load_settings()) | ({"debtors": "debtors"} if may_look else {}))


def _looked_at(user: BaseUser, customer_id: str | None, read: Any) -> list[tuple[str, ...]]:
    from regua.instants import utc_clock
    from regua.panel.debtors import keep_look
    from regua.settings import load_settings

    settings = load_settings()
    try:
        # Kept first: whoever cannot be noted down sees nothing.
        keep_look(settings, str(user.get_name()), customer_id, utc_clock)
        found: list[tuple[str, ...]] = read(settings)
    except ReguaError as error:
        raise HTTPException(503, str(error)) from error
    return found


def _listing(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]], links_to: str = "") -> HTMLResponse:
    def first(text: str) -> str:
        return f'<a href="{links_to}{quote(text, safe="")}">{escape(text)}</a>' if links_to else escape(text)

    body = "".join(
        f"<tr><th scope='row'>{first(one)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in others)}</tr>"
        for one, *others in rows
    )
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    text = (
        f"<!doctype html><html lang='pt-BR'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><style>"
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1rem}"
        "table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #8886;text-align:right}"
        f"th:first-child{{text-align:left}}</style></head><body><main><h1>{escape(title)}</h1>"
        "<p>Esta consulta fica registrada.</p>"
        f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></main></body></html>"
    )
    return HTMLResponse(text, headers=_HEADERS | {"Content-Security-Policy": _PLAIN_POLICY})
