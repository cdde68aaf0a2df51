"""Presets of the command line: those of the account, and with `--local` those of this machine."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from cluster.cli.presets import PresetsFile
from cluster.cli.spec_options import SpecOptions
from cluster.cli.spec_resolution import text_of_options
from tests.support.clients.cli_run import Run
from tests.support.clients.documented_service import DocumentedService
from tests.support.clients.fake_messages import answer_problem

EXACT = '{"sample":{"mode":"fps","fps":29.970029970029970029},"image":{"format":"png","max_side":640}}'


@pytest.fixture
def service() -> DocumentedService:
    service = DocumentedService()
    service.presets.clear()
    return service


@pytest.fixture
def without_login(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("FOTOGRAMA_API_KEY")
    return url


def test_preset_is_saved_listed_and_deleted_in_the_account(run: Run, service: DocumentedService) -> None:
    saved = run("presets", "save", "só capas", "--mode", "keyframes", "--format", "png")
    assert saved.out == "Saved. Use it with: fotograma extract FILES --preset 'só capas'\n"
    assert list(service.presets) == ["só capas"]
    spec = {"sample": {"mode": "keyframes"}, "image": {"format": "png"}}
    assert json.loads(run("presets", "list", "--json").out)["items"] == [{"name": "só capas", "spec": spec}]
    assert run("presets", "list").out == f"só capas\t{json.dumps(spec, separators=(',', ':'))}\n"
    assert run("presets", "delete", "só capas").code == 0
    assert run("presets", "list").out == ""
    missing = run("presets", "delete", "só capas")
    assert (missing.code, "there is no preset 'só capas'. Save one with: " in missing.err) == (2, True)
    assert run("presets", "save", "empty").code == 2


@pytest.mark.usefixtures("url")
def test_preset_of_the_account_keeps_every_digit_and_other_options_change_it(run: Run) -> None:
    assert run("presets", "save", "slides", "--spec", EXACT).code == 0
    assert text_of_options(SpecOptions(preset="slides")) == EXACT
    changed = text_of_options(SpecOptions(preset="slides", format="webp", mode="keyframes"))
    assert json.loads(changed or "") == {
        "sample": {"mode": "keyframes"},
        "image": {"format": "webp", "max_side": 640},
    }
    with pytest.raises(typer.BadParameter, match="There are: slides"):
        text_of_options(SpecOptions(preset="slide"))


def test_preset_of_this_machine_needs_no_server_and_is_not_one_of_the_account(
    run: Run, service: DocumentedService, without_login: str
) -> None:
    saved = run("presets", "save", "slides", "--local", "--spec", EXACT)
    assert saved.out == "Saved. Use it with: fotograma extract FILES --local --preset slides\n"
    assert run("presets", "list", "--local").out == f"slides\t{EXACT}\n"
    assert text_of_options(SpecOptions(preset="slides"), local=True) == EXACT
    refused = run("presets", "list")
    assert (refused.code, f"You are not logged in at {without_login}." in refused.err) == (77, True)
    assert run("presets", "delete", "slides", "--local").code == 0
    with pytest.raises(typer.BadParameter, match="Save one with: fotograma presets save NAME --local"):
        text_of_options(SpecOptions(preset="slides"), local=True)
    assert service.requests == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a ", "x" * 61])
def test_wrong_name_is_refused_before_anything_is_sent(run: Run, service: DocumentedService, name: str) -> None:
    for where in ((), ("--local",)):
        refused = run("presets", "save", "--mode", "all", *where, "--", name)
        assert (refused.code, "Invalid value for NAME" in refused.err) == (2, True), refused.err
    assert service.requests == []


def test_full_account_is_told_at_once(run: Run, service: DocumentedService) -> None:
    service.add_faults("PUT", "/v1/presets/.*", answer_problem(429, "too_many_presets", retry_after="3600"))
    refused = run("presets", "save", "slides", "--mode", "all")
    assert (refused.code != 0, "too_many_presets" in refused.err) == (True, True), refused.err
    assert len(service.requests_to("PUT", ".*")) == 1


def test_file_of_this_machine_keeps_the_decimals(tmp_path: Path) -> None:
    file = PresetsFile({"XDG_CONFIG_HOME": str(tmp_path)})
    file.save("slides", EXACT)
    spec = json.loads(file.read()["slides"], parse_float=Decimal)
    assert spec["sample"]["fps"] == Decimal("29.970029970029970029")
    file.delete("slides")
    assert file.read() == {}
