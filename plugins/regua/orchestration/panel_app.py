"""The panel inside Airflow: a FastAPI app behind Airflow's login and permissions, mounted by plugins/regua_panel.py.

Airflow authenticates no plugin's app, so every route here asks for its user itself. Its modules are imported when
somebody asks: every Airflow process reads plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
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

    from regua.panel.debtors import Rows
    from regua.settings import Settings

# Whoever may see this DAG may see the panel; whoever may change it may look at customers one by one.
_DAG_ID = "receivables_nightly"
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_PLAIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_DAYS = {"month", "since"}

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


@app.get("/lists/{name}", response_class=HTMLResponse)
def listing(name: str, request: Request, user: Annotated[Any, Depends(_collector)]) -> HTMLResponse:
    """Customers and invoices behind a number, narrowed down as it was; that somebody looked is kept."""
    from regua.panel.debtors import LISTINGS, read_listing

    texts = _texts(request)
    if name not in LISTINGS:
        raise HTTPException(404, texts["unknown"])
    given = _filters(request, LISTINGS[name].filters)
    used = {key: value for key, value in given.items() if value is not None}
    look = " ".join([name, *(f"{key}={value}" for key, value in used.items())])
    found = _looked_at(user, None, look, lambda settings: read_listing(settings, name, given))
    note = ", ".join(f"{texts[key]}: {value}" for key, value in used.items())
    return _page_of_rows(texts, texts[name], found, note=note, links_to="../debtors/")


@app.get("/debtors/{customer_id:path}", response_class=HTMLResponse)
def debtor(customer_id: str, request: Request, user: Annotated[Any, Depends(_collector)]) -> HTMLResponse:
    """The open invoices of one customer; that somebody looked is kept."""
    from regua.panel.debtors import open_invoices

    texts = _texts(request)
    found = _looked_at(user, customer_id, "customer", lambda settings: open_invoices(settings, customer_id))
    if not found.rows:
        raise HTTPException(404, texts["nothing_open"])
    return _page_of_rows(texts, f"{texts['customer']} {customer_id}", found)


@lru_cache(maxsize=4)
def _page(generation: str, may_look: bool) -> str:
    """One a generation: nothing in it depends on who asks, but whether customers can be opened."""
    from regua.panel.data import panel_data
    from regua.panel.page import page
    from regua.settings import load_settings

    return page(panel_data(load_settings()) | ({"lists": "lists/"} if may_look else {}))


def _filters(request: Request, names: tuple[str, ...]) -> dict[str, str | date | None]:
    """Raises HTTPException 400 for a day that is none."""
    given: dict[str, str | date | None] = {name: request.query_params.get(name) or None for name in names}
    for name in _DAYS & given.keys():
        if given[name] is not None:
            try:
                given[name] = date.fromisoformat(str(given[name]))
            except ValueError as error:
                raise HTTPException(400, f"{name}: {error}") from error
    return given


def _looked_at(user: BaseUser, customer_id: str | None, listing: str, read: Callable[[Settings], Rows]) -> Rows:
    from regua.instants import utc_clock
    from regua.panel.debtors import keep_look
    from regua.settings import load_settings

    settings = load_settings()
    try:
        # Kept first: whoever cannot be noted down sees nothing.
        keep_look(settings, str(user.get_name()), customer_id, listing, utc_clock)
        return read(settings)
    except ReguaError as error:
        raise HTTPException(503, str(error)) from error


def _texts(request: Request) -> Mapping[str, str]:
    from regua.panel.texts import TEXTS

    return TEXTS["en" if request.query_params.get("lang") == "en" else "pt-BR"]


def _page_of_rows(
    texts: Mapping[str, str], title: str, found: Rows, *, note: str = "", links_to: str = ""
) -> HTMLResponse:
    def first(text: str) -> str:
        if not links_to:
            return escape(text)
        link = f"{links_to}{quote(text, safe='')}?lang={texts['lang']}"
        return f'<a href="{escape(link)}">{escape(text)}</a>'

    body = "".join(
        f"<tr><th scope='row'>{first(one)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in others)}</tr>"
        for one, *others in found.rows
    )
    columns = "".join(f'<th scope="col">{escape(texts.get(name, name))}</th>' for name in found.columns)
    count = texts["count"].format(shown=len(found.rows), total=found.total_count)
    text = (
        f"<!doctype html><html lang='{texts['lang']}'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><style>"
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1rem}.rows{overflow-x:auto}"
        "table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #8886;text-align:right}"
        f"th:first-child{{text-align:left}}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p>{escape(count)}{' · ' + escape(note) if note else ''}<br>{texts['kept']}</p>"
        f"<div class='rows' tabindex='0' role='region' aria-label='{escape(title)}'>"
        f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div></main></body></html>"
    )
    return HTMLResponse(text, headers=_HEADERS | {"Content-Security-Policy": _PLAIN_POLICY})
