from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shortlist.schemas.errors import InvalidConfiguration, Unauthenticated
from shortlist.server.auth.keys import ApiKeys, KeyEntry, KeysFile, new_key, read_keys, write_keys
from shortlist.server.cli.main import main

Run = Callable[..., str]

NOW = datetime.now(UTC)
ENTRY = {"id": "0" * 12, "name": "a", "sha256": "0" * 64, "created": "2030-01-01T00:00:00Z"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `shortlist keys COMMAND --file … ARGUMENTS`, and returns its stdout."""

    def run(command: str, *arguments: str) -> str:
        assert main(["keys", command, "--file", str(path), *arguments]) == 0
        return capsys.readouterr().out

    return run


def secret_of(key: str) -> str:
    return key.split("_", 2)[2]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_found_only_by_its_whole_text() -> None:
    key, entry = new_key("billing")
    keys = ApiKeys(KeysFile(keys=(new_key("other")[1], entry)))
    assert keys.find(key).name == "billing"
    for wrong in (key[:-1], key + "A", key.upper(), key + "\n", entry.id, entry.sha256, "", "\ud800"):
        with pytest.raises(Unauthenticated, match="not known here"):
            keys.find(wrong)


def test_the_secret_of_one_key_does_not_match_another() -> None:
    (_, first), (other, second) = new_key("a"), new_key("b")
    mixed = f"shortlist_{first.id}_{secret_of(other)}"
    with pytest.raises(Unauthenticated, match="not known here"):
        ApiKeys(KeysFile(keys=(first, second))).find(mixed)


def test_a_name_may_have_several_keys() -> None:
    made = [new_key("billing") for _ in range(3)]
    keys = ApiKeys(KeysFile(keys=tuple(entry for _, entry in made)))
    assert [keys.find(key).id for key, _ in made] == [entry.id for _, entry in made]


def test_a_key_is_valid_until_it_expires() -> None:
    key, entry = new_key("billing", expires=NOW)
    file = KeysFile(keys=(entry,))
    assert ApiKeys(file, now=lambda: NOW - timedelta(seconds=1)).find(key) == entry
    with pytest.raises(Unauthenticated, match=f"{entry.id} expired at {NOW:%Y-%m-%d %H:%M}"):
        ApiKeys(file, now=lambda: NOW).find(key)


def test_a_key_has_256_random_bits_and_is_kept_as_a_hash() -> None:
    key, entry = new_key("billing")
    assert re.fullmatch(r"shortlist_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)
    assert secret_of(key) not in entry.model_dump_json()
    assert entry.sha256 not in repr(entry)
    assert len({new_key("billing")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("shortlist_secret", "is not a JSON file of keys", id="not JSON"),
        pytest.param("[" * 100_000, "is not a JSON file of keys", id="deeply nested"),
        pytest.param("[]", "the file: ", id="a list"),
        pytest.param('{"version": 2}', "version: ", id="another version"),
        pytest.param(
            json.dumps({"keys": [ENTRY, {**ENTRY, "id": "1" * 12, "rate": -1}]}), r"keys\[1\].rate: ", id="rate"
        ),
        pytest.param(json.dumps({"keys": [{**ENTRY, "rat": 1}]}), r"keys\[0\].rat: ", id="unknown field"),
        pytest.param(json.dumps({"keys": [{**ENTRY, "name": "a\nb"}]}), r"keys\[0\].name: ", id="name"),
        pytest.param(json.dumps({"keys": [{**ENTRY, "name": "jwt:a"}]}), r"keys\[0\].name: ", id="name of a token"),
        pytest.param(
            json.dumps({"keys": [{**ENTRY, "expires": "2030-01-01T00:00"}]}), r"keys\[0\].expires", id="no zone"
        ),
        pytest.param(json.dumps({"keys": [{**ENTRY, "sha256": "shortlist_s"}]}), r"keys\[0\].sha256: ", id="hash"),
        pytest.param(json.dumps({"keys": [ENTRY, ENTRY]}), "the file: two keys have the same id", id="same id"),
    ],
)
def test_a_wrong_file_is_rejected_in_one_line_without_its_content(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(InvalidConfiguration, match=f"{re.escape(str(path))}: {message}") as caught:
        read_keys(path)
    assert "shortlist_s" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_open_to_all_users_gives_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_keys(path, KeysFile())
    read_keys(path)
    assert not caplog.records
    path.chmod(0o644)
    read_keys(path)
    assert "every user of this machine" in caplog.text


def test_a_new_file_is_private_and_an_existing_one_keeps_its_mode(path: Path) -> None:
    write_keys(path, KeysFile())
    assert mode_of(path) == 0o600
    path.chmod(0o640)
    write_keys(path, KeysFile(keys=(KeyEntry.model_validate(ENTRY),)))
    assert (mode_of(path), len(read_keys(path).keys)) == (0o640, 1)


def test_a_link_to_the_file_stays_a_link(path: Path) -> None:
    target = path.with_name("target.json")
    path.symlink_to(target)
    write_keys(path, KeysFile())
    assert (path.is_symlink(), read_keys(target)) == (True, KeysFile())


def test_a_failed_write_keeps_the_file_and_leaves_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    write_keys(path, KeysFile())
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InvalidConfiguration, match="cannot be written: No space left"):
        write_keys(path, KeysFile(keys=(KeyEntry.model_validate(ENTRY),)))
    assert (read_keys(path), os.listdir(path.parent)) == (KeysFile(), [path.name])


def test_adding_prints_the_key_and_stores_its_hash(run: Run, path: Path) -> None:
    key = run("add", "billing").strip()
    assert ApiKeys(read_keys(path)).find(key).name == "billing"
    assert secret_of(key) not in path.read_text()


def test_a_key_has_the_limits_it_was_made_with(run: Run, path: Path) -> None:
    run("add", "billing", "--rate", "2.5", "--burst", "7", "--max-calls", "3", "--expires", "2030-12-31")
    entry = read_keys(path).keys[0]
    assert (entry.rate, entry.burst, entry.max_calls) == (2.5, 7, 3)
    assert entry.expires == datetime(2031, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "note"), [("2020-01-01", "has already expired"), ("9998-12-31", "becomes valid once the server")]
)
def test_adding_says_when_the_key_becomes_valid(
    path: Path, capsys: pytest.CaptureFixture[str], expires: str, note: str
) -> None:
    assert main(["keys", "add", "--file", str(path), "billing", "--expires", expires]) == 0
    assert note in capsys.readouterr().err


def test_listing_shows_ids_and_limits_but_neither_keys_nor_hashes(run: Run, path: Path) -> None:
    key = run("add", "billing", "--rate", "2.5").strip()
    run("add", "old", "--expires", "2020-01-01T12:00:00+01:00")
    shown, listed = run("list"), json.loads(run("list", "--json"))["keys"]
    entry = read_keys(path).keys[0]
    assert [(row["name"], row["rate"], row["is_expired"]) for row in listed] == [
        ("billing", 2.5, False),
        ("old", None, True),
    ]
    assert shown.splitlines()[1].split()[:2] == [entry.id, "billing"]
    assert all(secret not in shown + str(listed) for secret in (key, secret_of(key), entry.sha256))


def test_revoking_removes_one_key(run: Run, path: Path) -> None:
    run("add", "billing")
    run("add", "billing")
    first, second = read_keys(path).keys
    run("revoke", first.id)
    assert read_keys(path).keys == (second,)


def test_keys_made_at_the_same_time_are_all_kept(run: Run, path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: main(["keys", "add", f"n{number}", "--file", str(path)]), range(16)))
    assert len(read_keys(path).keys) == 16


def test_keys_of_one_name_with_different_limits_give_a_notice(
    run: Run, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("add", "billing", "--rate", "2")
    main(["keys", "add", "billing", "--file", str(path), "--rate", "2"])
    assert "different limits" not in capsys.readouterr().err
    main(["keys", "add", "billing", "--file", str(path)])
    assert "different limits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        pytest.param(["revoke", "--file", "{path}", "f" * 12], 1, "no key in", id="revoke an unknown id"),
        pytest.param(["list", "--file", "{path}.not"], 2, "cannot be read", id="list a missing file"),
        pytest.param(["add", "a", "--file", "{path}/not/k.json"], 2, "cannot be", id="missing folder"),
    ],
)
def test_a_failure_is_reported_in_one_line(
    run: Run, path: Path, capsys: pytest.CaptureFixture[str], command: list[str], code: int, message: str
) -> None:
    run("add", "billing")
    assert main(["keys", *(part.format(path=path) for part in command)]) == code
    output = capsys.readouterr()
    assert (output.out, len(output.err.splitlines())) == ("", 1)
    assert message in output.err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["a b"], id="space in the name"),
        pytest.param(["jwt:alice"], id="name of a token"),
        pytest.param(["a", "--rate", "-1"], id="negative rate"),
        pytest.param(["a", "--rate", "inf"], id="infinite rate"),
        pytest.param(["a", "--expires", "tomorrow"], id="not a date"),
        pytest.param(["a", "--expires", "9999-12-31"], id="date without a day after it"),
        pytest.param(["a", "--expires", "2030-01-01T00:00"], id="time without an offset"),
    ],
)
def test_wrong_usage_makes_no_key(path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["keys", "add", "--file", str(path), *arguments])
    assert not path.exists()
