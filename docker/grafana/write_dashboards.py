"""Writes the dashboards of Grafana from dashboard_panels.yaml: `python -m docker.grafana.write_dashboards`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).with_name("dashboard_panels.yaml")
FOLDER = Path(__file__).with_name("dashboards")
SCHEMA_VERSION = 41
WIDTH, PANEL_SIZE, STAT_SIZE = 24, (8, 7), (4, 4)
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RAY_DASHBOARDS = {"Ray: cluster": "rayDefaultDashboard", "Ray: Serve": "rayServeDashboard"}
"""Ray writes them itself: docs/monitoring.md says where."""

Json = dict[str, Any]


def files() -> dict[Path, str]:
    """The contents of the files by their paths."""
    dashboards: list[Json] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return {
        FOLDER / f"{dashboard['uid']}.json": json.dumps(dashboard_json(dashboard), indent=1) + "\n"
        for dashboard in dashboards
    }


def dashboard_json(dashboard: Json) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": dashboard["uid"],
        "title": dashboard["title"],
        "description": dashboard["description"],
        "tags": ["fotograma"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "links": _links(),
        "templating": {"list": [_data_source_variable()]},
        "panels": _placed(dashboard["panels"]),
    }


def _links() -> list[Json]:
    own: Json = {"type": "dashboards", "title": "Fotograma", "tags": ["fotograma"], "asDropdown": False}
    of_ray: list[Json] = [
        {"type": "link", "title": title, "url": f"/d/{uid}", "tags": []} for title, uid in RAY_DASHBOARDS.items()
    ]
    return [{"keepTime": True, **link} for link in (own, *of_ray)]


def _data_source_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _placed(panels: list[Json]) -> list[Json]:
    """The panels from left to right, in rows. The large numbers come first."""
    placed, x, y, height = list[Json](), 0, 0, 0
    for number, panel in enumerate(panels, 1):
        width, next_height = STAT_SIZE if "stat" in panel else PANEL_SIZE
        if x + width > WIDTH or (height and next_height != height):
            x, y = 0, y + height
        height = next_height
        placed.append({"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **_panel_json(panel)})
        x += width
    return placed


def _panel_json(panel: Json) -> Json:
    is_stat = "stat" in panel
    lines: dict[str, str] = {"": panel["stat"]} if is_stat else panel["lines"]
    return {
        "type": "stat" if is_stat else "timeseries",
        "title": panel["title"],
        "description": panel["description"],
        "datasource": DATA_SOURCE,
        "fieldConfig": {"defaults": _field_defaults(panel), "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if is_stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": DATA_SOURCE, "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(lines.items())
        ],
    }


def _field_defaults(panel: Json) -> Json:
    defaults: Json = {"unit": panel["unit"], "min": 0}
    if "max" in panel:
        defaults["max"] = panel["max"]
    if panel.get("stacked"):
        defaults["custom"] = {"fillOpacity": 20, "stacking": {"mode": "normal", "group": "A"}}
    return defaults


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
