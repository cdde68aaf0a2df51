"""`fotograma keys`: the secret is shown once, and a key is revoked by id or name."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cluster.cli.commands.keys import find_key, table_lines
from cluster.cli.stored_items import AmbiguousId, UnknownId
from cluster.client.account_types import ApiKey
from tests.support.clients.cli_run import Run
from tests.support.clients.documented_service import DocumentedService
from tests.support.clients.fake_messages import answer_problem

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NIGHTLY = ApiKey("01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10", "nightly job", NOW - timedelta(days=2), NOW)
NOTEBOOK = ApiKey("01890c5e-7b1a-7c3e-9f00-5b6c1d8e4a77", "notebook", NOW - timedelta(hours=3))


@pytest.fixture
def service() -> DocumentedService:
    return DocumentedService()


def test_secret_of_a_new_key_stands_alone_on_standard_output(run: Run, service: DocumentedService) -> None:
    done = run("keys", "create", "nightly job")
    assert (done.code, done.out) == (0, "fg_secret\n")
    assert "The key nightly job has the secret below. It can't be shown again." in done.err
    (request,) = service.requests_to("POST", "/v1/api-keys")
    assert request.json() == {"name": "nightly job"}
    assert json.loads(run("keys", "create", "x", "--json").out)["secret"] == "fg_secret"


def test_list_shows_keys_without_secrets(run: Run) -> None:
    (line,) = run("keys", "list").out.splitlines()
    assert line.split("\t")[:2] == ["k-1", "a notebook"]
    (item,) = json.loads(run("keys", "list", "--json").out)["items"]
    assert item.keys() == {"id", "name", "created_at", "last_used_at"}


def test_table_has_short_ids_and_ages() -> None:
    assert table_lines([NIGHTLY, NOTEBOOK], NOW) == [
        "ID        NAME         CREATED  LAST USED",
        "1d8e4a10  nightly job  2 d ago  just now",
        "1d8e4a77  notebook     3 h ago  never",
    ]


def test_revoke_asks_first_or_needs_yes(run: Run, service: DocumentedService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    refused = run("keys", "revoke", "a notebook")
    assert (refused.code, "nobody can be asked. To revoke a notebook, add it." in refused.err) == (2, True)
    assert not service.requests_to("DELETE", ".*")
    assert run("keys", "revoke", "a notebook", "--yes").out == "a notebook: revoked\n"
    assert len(service.requests_to("DELETE", "/v1/api-keys/k-1")) == 1
    unknown = run("keys", "revoke", "nightly", "--yes")
    assert (unknown.code, "You have no key nightly." in unknown.err) == (65, True)


def test_key_without_the_right_to_make_keys_is_not_allowed(run: Run, service: DocumentedService) -> None:
    service.add_faults("POST", "/v1/api-keys", answer_problem(403, "session_required"))
    assert run("keys", "create", "x").code == 77


@pytest.mark.parametrize("text", [NIGHTLY.id, "nightly job", "1d8e4a10", "9f00-2b6c1d8e4a10"])
def test_key_is_found_by_id_part_of_the_id_or_name(text: str) -> None:
    assert find_key([NIGHTLY, NOTEBOOK], text) == NIGHTLY


def test_key_that_is_not_clear_is_refused_with_the_choices() -> None:
    with pytest.raises(AmbiguousId, match=r"2 keys are meant by 01890c5e: .*10 \(nightly job\), .*77 \(notebook\)"):
        find_key([NIGHTLY, NOTEBOOK], "01890c5e")
    with pytest.raises(AmbiguousId, match="2 keys are meant by notebook"):
        find_key([replace(NIGHTLY, name="notebook"), NOTEBOOK], "notebook")
    with pytest.raises(UnknownId, match="fotograma keys list"):
        find_key([NIGHTLY], "other")
