"""Holds what earlier versions of the built-in model did not get right."""

from __future__ import annotations

from typing import Any

import pytest
from requests_made import named

from shortlist import Router

LOG = "\n".join(
    f"2025-03-0{number % 9 + 1}T10:00:{number:02d} DEBUG queue {number} drained {number * 3} messages in {number} ms"
    for number in range(55)
)
WISH = "Please open an incident for this."
STAFF = """
CREATE TABLE hr.WardHistory (NurseID int NOT NULL, WardID smallint NOT NULL, ShiftID tinyint NOT NULL,
  StartDate date NOT NULL, EndDate date NULL, ModifiedDate datetime NOT NULL, PRIMARY KEY (NurseID, StartDate, WardID),
  FOREIGN KEY (WardID) REFERENCES hr.Ward(WardID), FOREIGN KEY (NurseID) REFERENCES hr.Nurse(NurseID));
CREATE TABLE hr.Ward (WardID smallint PRIMARY KEY, Name nvarchar(50) NOT NULL, GroupName nvarchar(50) NOT NULL,
  ModifiedDate datetime NOT NULL);
CREATE TABLE hr.Nurse (NurseID int PRIMARY KEY, NationalIDNumber nvarchar(15), LoginID nvarchar(256),
  JobTitle nvarchar(50), BirthDate date, ModifiedDate datetime);
"""
MUSIC = """
CREATE TABLE artist (artist_id int PRIMARY KEY, name varchar(120));
CREATE TABLE record (record_id int PRIMARY KEY, title varchar(160), artist_id int REFERENCES artist(artist_id));
CREATE TABLE song (song_id int PRIMARY KEY, name varchar(200), record_id int REFERENCES record(record_id),
  format_id int, style_id int, writer varchar(220), milliseconds int, bytes int, unit_price numeric(10,2));
CREATE TABLE bill (bill_id int PRIMARY KEY, customer_id int REFERENCES customer(customer_id), bill_date timestamp,
  billing_address varchar(70), total numeric(10,2));
CREATE TABLE bill_line (bill_line_id int PRIMARY KEY, bill_id int REFERENCES bill(bill_id),
  song_id int REFERENCES song(song_id), unit_price numeric(10,2), quantity int);
CREATE TABLE customer (customer_id int PRIMARY KEY, first_name varchar(40), last_name varchar(20), company varchar(80),
  support_rep_id int REFERENCES employee(employee_id));
CREATE TABLE employee (employee_id int PRIMARY KEY, last_name varchar(20), title varchar(30));
CREATE TABLE playlist (playlist_id int PRIMARY KEY, name varchar(120));
CREATE TABLE playlist_song (playlist_id int REFERENCES playlist(playlist_id), song_id int REFERENCES song(song_id));
"""


def tool(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "description": description, "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(device="cpu", dtype="float32")


def test_placeholders_do_not_outrank_the_answer(router: Router) -> None:
    documents = ["F207: oil temperature too high, clean filter 2", "-", "N/A", "TBD"]
    assert router.rerank("fault code F207", documents).items[0].index == 0


def test_the_wish_behind_a_long_log_is_read(router: Router) -> None:
    tools = [
        tool("open_incident", "Open an incident in the tracker"),
        tool("read_log", "Read lines of a log file"),
        tool("drain_queue", "Drain a message queue"),
    ]
    assert named(router.select_tools(f"{LOG}\n{WISH}", tools))[0] == "open_incident"


def test_the_wish_behind_a_long_log_is_read_when_documents_are_ranked(router: Router) -> None:
    documents = ["Open an incident in the tracker", "Drain a message queue", "Read lines of a log file"]
    assert router.rerank(f"{LOG}\n{WISH}", documents).items[0].index == 0


def test_tools_that_say_nothing_do_not_outrank_one_that_fits(router: Router) -> None:
    tools = [
        tool("secrets.reissue", "Makes a fresh token and withdraws the old one"),
        {"name": "_"},
        {"name": "exec"},
        {"name": "function_7"},
    ]
    assert named(router.select_tools("How do I replace my access key?", tools))[0] == "secrets.reissue"


def test_columns_that_join_tables_are_kept(router: Router) -> None:
    selection = router.select_tables(
        "Which nurses moved to another ward last year?", STAFF, top_n=3, keep_columns=0.4, dialect="tsql"
    )
    kept = {(item.name, column.name) for item in selection.items for column in item.columns}
    assert {("hr.Ward", "WardID"), ("hr.Ward", "Name"), ("hr.Nurse", "NurseID")} <= kept


def test_a_table_that_only_joins_two_others_is_among_the_first(router: Router) -> None:
    found = named(router.select_tables("revenue by artist", MUSIC, top_n=5))
    assert {"artist", "record", "song", "bill_line"} <= set(found)
