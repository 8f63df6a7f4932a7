"""Ids come from other people's systems: whatever stands in one, its link leads to it and nothing of it is markup."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote, urljoin

from regua.orchestration.panel_app import _page_of_rows, app
from regua.panel.debtors import LISTINGS, Rows
from regua.panel.texts import TEXTS


def test_a_link_leads_to_the_very_id_and_its_text_is_no_markup() -> None:
    identifier = "../a/b?c=<i>1&2%"
    found = Rows(("customer_id",), ((identifier,),), 1)
    answer = _page_of_rows(TEXTS["en"], identifier, found, note=identifier, links_to="../debtors/")
    text = bytes(answer.body).decode()
    [link] = re.findall(r'href="([^"]*)"', text)
    path = unquote(urljoin("http://host/regua/lists/debtors", html.unescape(link)))
    assert path == f"http://host/regua/debtors/{identifier}?lang=en"
    assert "<i>" not in text
    assert "1 of 1" in text
    assert any(getattr(route, "path", "") == "/debtors/{customer_id:path}" for route in app.routes)


def test_both_languages_have_every_text_each_list_its_title_and_each_filter_its_name() -> None:
    assert TEXTS["en"].keys() == TEXTS["pt-BR"].keys()
    assert LISTINGS.keys() | {name for listing in LISTINGS.values() for name in listing.filters} <= TEXTS["en"].keys()
