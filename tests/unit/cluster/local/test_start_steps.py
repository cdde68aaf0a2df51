"""The output of the start of `fotograma up`: a line for each finished step, and a progress line on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local.console import START_OF_LINE, Console
from cluster.local.servers.ray_head_command import Addresses, HeadStep, RayHeadCommand, Report
from cluster.local.supervision.event_messages import progress_line, step_line


@pytest.fixture
def head(tmp_path: Path) -> RayHeadCommand:
    return RayHeadCommand(8000, 2, tmp_path, tmp_path)


@contextmanager
def pseudo_terminal() -> Iterator[int]:
    """Connects standard output to a pseudo terminal, and yields its other end.

    It is no fixture, because pytest captures the output of the setup and of the test separately.
    """
    master, slave = pty.openpty()
    stdout_copy = os.dup(1)
    os.dup2(slave, 1)
    try:
        yield master
    finally:
        os.dup2(stdout_copy, 1)
        for descriptor in (stdout_copy, master, slave):
            os.close(descriptor)


def test_finished_step_is_a_line_with_its_seconds() -> None:
    assert step_line("PostgreSQL", 0.25).split() == ["PostgreSQL", "0.2", "s"]


def test_unfinished_steps_are_one_line() -> None:
    assert progress_line(["PostgreSQL", "Ray"], 3.4) == "  PostgreSQL; Ray ... 3 s"
    assert progress_line([], 3.4) == ""


def read_until(screen: int, end: str) -> str:
    """The text written to a pseudo terminal up to `end`; a single read may return less."""
    output = b""
    while not output.endswith(end.encode()):
        output += os.read(screen, 1000)
    return output.decode()


def test_printed_line_replaces_the_progress_line_on_a_terminal() -> None:
    with pseudo_terminal() as screen:
        console = Console()
        console.show_progress("  Ray ... 1 s")
        console.show_progress("  Ray ... 1 s")
        console.show_progress("  Ray ... 2 s")
        console.print_line("  Ray  2.5 s")
        console.print_line("done")
        console.close()
        output = read_until(screen, "done\r\n")

    before = f"{START_OF_LINE}  Ray ... 1 s{START_OF_LINE}  Ray ... 2 s"
    assert output == f"{before}{START_OF_LINE}  Ray  2.5 s\r\ndone\r\n"


def test_progress_line_is_cut_to_the_width_of_the_terminal() -> None:
    with pseudo_terminal() as screen:
        console = Console()
        console.show_progress("x" * 1000)
        console.close()
        output = read_until(screen, "x" * 79)

    assert output == START_OF_LINE + "x" * 79


def test_output_without_a_terminal_has_no_progress_line(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.show_progress("  Ray ... 1 s")
    console.print_line("  Ray  1.5 s")
    console.close()

    assert capfd.readouterr().out == "  Ray  1.5 s\n"


def test_ray_head_reports_its_steps(head: RayHeadCommand) -> None:
    assert head.read_report() is None
    head.write_report(HeadStep.RAY, Addresses(metrics="http://127.0.0.1:1"))
    head.write_report(HeadStep.DASHBOARD, Addresses("http://127.0.0.1:2", "http://127.0.0.1:1"))

    assert head.read_report() == Report(HeadStep.DASHBOARD, Addresses("http://127.0.0.1:2", "http://127.0.0.1:1"))
    head.delete_report()
    assert head.read_report() is None


def test_ray_head_parses_its_command(head: RayHeadCommand) -> None:
    assert RayHeadCommand.parse(head.command()[-1]) == head


@pytest.mark.parametrize("module", ["cluster.local.up", "cluster.local.one_machine_service"])
def test_modules_for_the_first_line_and_the_start_of_ray_import_nothing_heavy(module: str) -> None:
    heavy = {"alembic", "asyncio", "cluster.settings", "obstore", "psycopg", "pydantic", "ray", "redis", "sqlalchemy"}
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
