"""The lines that `fotograma ledger` prints about differences."""

from __future__ import annotations

from typing import Any

from cluster.cli.operator_commands import difference_lines
from cluster.client.api_types import Ledger


def ledger(count: int, ids: list[str], *accounts: dict[str, Any]) -> Ledger:
    states = dict.fromkeys(("accepted", "succeeded", "failed", "cancelled", "queued", "running", "deleted"), 0)
    return Ledger(
        **states,
        balanced=not count,
        difference_count=count,
        differences=tuple(ids),
        reasons=reasons(ids),
        users=accounts,
    )


def account(*ids: str) -> dict[str, Any]:
    return {"user_id": "u", "email": None, "differences": list(ids), "reasons": reasons(ids)}


def reasons(ids: Any) -> dict[str, str]:
    return {extraction_id: f"why-{extraction_id}" for extraction_id in ids}


def test_every_id_of_the_sum_and_of_the_accounts_is_told_once_and_in_their_order() -> None:
    found = ledger(4, ["c", "a"], account("c", "a", "d"), account(), account("b"))
    assert difference_lines(found) == ["c  why-c", "a  why-a", "d  why-d", "b  why-b"]


def test_what_the_answer_does_not_list_is_counted() -> None:
    assert difference_lines(ledger(250, ["a"], account("a", "b")))[-1] == "and 248 more"


def test_of_a_balanced_ledger_nothing_is_told() -> None:
    assert difference_lines(ledger(0, [], account())) == []


def test_an_account_without_lists_is_passed_over() -> None:
    assert difference_lines(ledger(1, ["a"], {"user_id": "u"})) == ["a  why-a"]
