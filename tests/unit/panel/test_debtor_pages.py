"""Ids come from other people's systems: whatever stands in one, its link leads to it and nothing of it is markup."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote, urljoin

from regua.orchestration.panel_app import _listing, app


def test_a_link_leads_to_the_very_id_and_its_text_is_no_markup() -> None:
    identifier = "../a/b?c=<i>1&2%"
    text = bytes(_listing("Quem mais deve", ("cliente",), [(identifier,)], links_to="debtors/").body).decode()
    [link] = re.findall(r'href="([^"]*)"', text)
    path = unquote(urljoin("http://host/regua/debtors", html.unescape(link)))
    assert path == f"http://host/regua/debtors/{identifier}"
    assert "<i>" not in text
    assert any(getattr(route, "path", "") == "/debtors/{customer_id:path}" for route in app.routes)
