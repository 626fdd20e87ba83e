from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from paths import ROOT
from server_fixtures import ServerThread

DEPLOY = ROOT / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/shortlist.json").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}


def panels(holder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in holder.get("panels", []):
        yield panel
        yield from panels(panel)


def expressions() -> dict[str, str]:
    """Maps each place in the dashboard to its query."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in ALERTS}
    for panel in panels(DASHBOARD):
        found |= {f"{panel['title']} {one['refId']}": one["expr"] for one in panel.get("targets", [])}
    return found


def names_in(expression: str) -> set[str]:
    """Reads the metrics that a query names: words that are no label, function, keyword or number."""
    without_labels = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    without_lists = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", without_labels)
    words = re.findall(r"(?<![\w.$])([A-Za-z_:][\w:]*)\b(?!\s*\()", without_lists)
    return set(words) - {"and", "or", "unless", "bool", "sum", "avg", "max", "min"}


def test_names_are_read_out_of_queries() -> None:
    query = 'topk(3, sum by (a, b) (rate(x_total{c="d_total", e!~"f"}[5m]))) / on (g) y > 2e3 and absent(z_bucket)'
    assert names_in(query) == {"x_total", "y", "z_bucket"}


@pytest.mark.parametrize("place", expressions())
def test_what_dashboard_and_alerts_ask_for_is_exported(server: ServerThread, place: str) -> None:
    families = server.app.metrics.registry.collect()
    exported = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    asked = names_in(expressions()[place])
    assert asked
    assert asked <= exported


def test_labels_that_are_asked_for_exist() -> None:
    text = (ROOT / "server/telemetry/metrics.py").read_text(encoding="utf-8")
    given = {"instance", "job", "le"}  # Prometheus's own
    for expression in expressions().values():
        listed = re.findall(r"\bby\s*\(([^)]*)\)", expression) + re.findall(r"\{([^}]*)\}", expression)
        labels = {re.split(r"[=!]", one)[0].strip() for part in listed for one in part.split(",")}
        assert all(label in given or f'"{label}"' in text for label in labels if label), expression


def test_panels_have_ids_of_their_own_and_a_unit_and_do_not_overlap() -> None:
    found = list(panels(DASHBOARD))
    ids = [panel["id"] for panel in found]
    assert (len(found) > 20, len(ids)) == (True, len(set(ids)))
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in found if "targets" in panel)
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in found)
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert (len(cells), max(x for x, _ in cells)) == (len(set(cells)), 23)


def test_the_data_source_is_chosen_on_import() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    sources = {
        one["datasource"]["uid"]
        for panel in panels(DASHBOARD)
        for one in (panel, *panel.get("targets", []))
        if "datasource" in one
    }
    assert (variables["datasource"], sources, DASHBOARD["schemaVersion"] >= 39) == (
        "datasource",
        {"${datasource}"},
        True,
    )


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_grave_it_is_and_what_to_look_at(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert all(len(rule["annotations"][name]) > 20 for name in ("summary", "description"))
    assert rule["expr"].count("(") == rule["expr"].count(")")
