"""The lines that `fotograma ledger` prints about differences."""

from __future__ import annotations

from typing import Any

from cluster.cli.commands.operations import difference_lines
from cluster.client.account_types import Ledger


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


def test_every_difference_is_printed_once_in_order() -> None:
    unbalanced = ledger(4, ["c", "a"], account("c", "a", "d"), account(), account("b"))
    assert difference_lines(unbalanced) == ["c  why-c", "a  why-a", "d  why-d", "b  why-b"]


def test_unlisted_differences_are_counted() -> None:
    assert difference_lines(ledger(250, ["a"], account("a", "b")))[-1] == "and 248 more"


def test_balanced_ledger_prints_nothing() -> None:
    assert difference_lines(ledger(0, [], account())) == []


def test_account_without_lists_adds_no_line() -> None:
    assert difference_lines(ledger(1, ["a"], {"user_id": "u"})) == ["a  why-a"]
