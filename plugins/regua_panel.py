"""Airflow reads this file as a plugin: the panel, in the navigation and behind Airflow's login."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from regua.orchestration.panel_app import app


class ReguaPanelPlugin(AirflowPlugin):
    """The panel's pages under /regua, and the entry that leads to them."""

    name = "regua_panel"
    fastapi_apps = [{"app": app, "url_prefix": "/regua", "name": "régua"}]  # noqa: RUF012 - as Airflow declares it
    external_views = [  # noqa: RUF012 - as Airflow declares it
        {"name": "Painel régua", "href": "regua/panel", "destination": "nav", "url_route": "regua-panel"}
    ]
