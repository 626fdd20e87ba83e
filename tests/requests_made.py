"""What the tests of the pipeline ask of a Router, and how they read its answers."""

from __future__ import annotations

import json

from shortlist.schemas.results import Selection

QUERY = "send an email to a customer"
TEXTS = {
    "send_email": '{"name": "send_email", "description": "Send an email to somebody"}',
    "attach_invoice": '{"name": "attach_invoice", "description": "attach the invoice to an email"}',
    "list_orders": '{ "name":"list_orders" ,\n "parameters": {"type": "object", "properties": {"date": {}}} }',
    "book_hotel": '{"name": "book_hotel", "description": "Book  a hotel", "x": [1,  2]}',
    "ping": '{"name": "ping"}',
}
TOOLS = list(TEXTS.values())
DDL = """CREATE TABLE shop.orders (id int primary key, customer_id int, total numeric);
CREATE TABLE shop.customers (id int primary key, email text);
COMMENT ON TABLE shop.customers IS 'who orders';
CREATE TABLE warehouses (city text);
"""
DOCUMENTS = ["Paris is the capital of France", "send an email", "the invoice of last month"]
# float32 on the CPU, whatever else is in the batch.
TOLERANCE = 1e-4


def named(selection: Selection) -> list[str]:
    return [item.name for item in selection.items]


def scores(selection: Selection) -> dict[int, float]:
    return {item.index: item.score for item in selection.items}


def tool(name: str, description: str = "") -> str:
    return json.dumps({"name": name, "description": description})
