"""What README, tutorial and the documents for clients say is carried out as it stands, on the running service.

Only three things are replaced: the address, because a test has no fixed port, the name of the new account, and the
password, which is not typed. FOTOGRAMA_SUITE=full also runs the first command of the tutorial.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fotograma import Client
from tests.support.clients.page_in_browser import file_row, needs_chromium, open_browser, open_visitor_page
from tests.support.servers.running_service import PASSWORD, READY, START_SECONDS, Service

ROOT = Path(__file__).parents[2]
README, CLIENTS = ROOT / "README.md", ROOT / "docs" / "clients.md"
TUTORIAL, TUTORIAL_PT = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "pt-BR" / "tutorial.md"
FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
START_COMMAND = "pip install uv && uv run fotograma up --demo"
TEST_COMMAND = "pip install uv && uv run pytest"
DEMO_END = "Frames "
"""How the last line begins that `up --demo` prints before it is ended."""
DOCUMENTED_PASSWORD = "correct horse"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def program_of(document: str) -> str:
    """The blocks of a document as one program for Bash. It ends at the first command that fails."""
    lines = ["set -euo pipefail"]
    for language, block in _BLOCK.findall(document):
        if language == "python":
            lines.append(f"{sys.executable} - <<'END_OF_PYTHON'\n{block}END_OF_PYTHON")
        elif START_COMMAND not in block:
            lines.append(block)
    return "\n".join(lines)


def environment(service: Service, folder: Path) -> dict[str, str]:
    """Of a user whose home folder is `folder`, where the service of the tests has its data."""
    link = folder / ".fotograma"
    if not link.exists():
        link.symlink_to(service.data_dir)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FOTOGRAMA_", "XDG_"))}
    # `uv run` works in the repository from any folder, and installs nothing.
    uv = {"UV_PROJECT": str(ROOT), "UV_NO_SYNC": "1"}
    return {
        **inherited,
        **uv,
        "HOME": str(folder),
        "FOTOGRAMA_URL": service.url,
        "FOTOGRAMA_PASSWORD": DOCUMENTED_PASSWORD,
    }


def run_document(text: str, service: Service, folder: Path) -> subprocess.CompletedProcess[str]:
    """Carries out the blocks of a document in a folder, with an account of its own. Asserts that none fails."""
    for name in ("ana", "bob"):
        text = text.replace(f"{name}@example.com", f"{name}-{time.time_ns()}@example.com")
    done = subprocess.run(
        ["bash", "-c", program_of(text.replace("http://127.0.0.1:8000", service.url))],
        cwd=folder,
        env=environment(service, folder),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def images_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return [name for name in opened.namelist() if name.endswith(".jpg")]


def test_commands_of_the_readme_do_what_it_says(service: Service, tmp_path: Path) -> None:
    run_document(README.read_text(), service, tmp_path)
    assert len(images_in(tmp_path / "frames" / "clock.zip")) == 8
    assert len(list((tmp_path / "keys" / "clock").glob("*.jpg"))) == 4
    assert len(images_in(tmp_path / "phone.mp4.zip")) > 5
    assert (tmp_path / "frames" / "phone" / "sheet.jpg").is_file()


def test_tutorial_leads_to_the_archives_and_lines_that_it_shows(service: Service, tmp_path: Path) -> None:
    text = TUTORIAL.read_text()
    service.wait_for(DEMO_END, 120)
    done = run_document(text, service, tmp_path)
    assert {path.name for path in (tmp_path / "frames").glob("*.zip")} == {"clock.zip", "phone.zip", "damaged.zip"}
    (shown,) = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for line in shown.splitlines():
        assert line.lstrip("…") in done.stdout + done.stderr
    assert images_in(tmp_path / "frames" / "phone.zip")[3].startswith("frame_000004_t000002.9")
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"clock.mp4", "phone.mp4", "damaged.mp4"}


def test_curl_gets_an_archive_as_shown(service: Service, tmp_path: Path) -> None:
    """The blocks below the heading HTTP."""
    clips = service.data_dir / "demo"
    service.wait_for(DEMO_END, 120)
    (tmp_path / "clips").symlink_to(clips)
    run_document(CLIENTS.read_text().partition("\n## HTTP\n")[2], service, tmp_path)
    assert len(images_in(tmp_path / "clock.zip")) == 20


def test_archive_comes_after_three_commands(service: Service) -> None:
    commands = [block for language, block in _BLOCK.findall(TUTORIAL.read_text().partition("## Look")[0])]
    assert [command.count("\n") for command in commands] == [1, 1, 1]
    # The service of the tests was started by the first one, with a port and a folder of its own.
    assert commands[0].strip() == START_COMMAND
    assert START_COMMAND.endswith(f"{Path(service.program[0]).name} up {' '.join(service.arguments)}")


def test_ci_runs_the_tests_by_the_command_of_the_readme() -> None:
    assert f"\n    {TEST_COMMAND}  " in README.read_text()
    assert f"\n{TEST_COMMAND}" in (ROOT / ".ci" / "run").read_text().replace(" --quiet", "")


def test_translation_has_the_commands_and_steps_of_the_tutorial() -> None:
    english, portuguese = TUTORIAL.read_text(), TUTORIAL_PT.read_text()
    assert _BLOCK.findall(english) == _BLOCK.findall(portuguese)
    for pattern in (r"^#+ ", r"^\d\. ", r"^- ", r"^\|"):
        found = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, portuguese)]
        assert found[0] == found[1], pattern


@needs_chromium
@pytest.mark.parametrize(
    ("tutorial", "locale"), [(TUTORIAL, "en-US"), (TUTORIAL_PT, "pt-BR")], ids=["English", "Portuguese"]
)
def test_browser_downloads_an_archive_after_six_interactions(
    browser: Browser, service: Service, tmp_path: Path, tutorial: Path, locale: str
) -> None:
    """Each step is carried out by the words that stand in bold in it, in the page's language."""
    steps = re.findall(r"^\d\. (.+)$", tutorial.read_text(), re.MULTILINE)
    assert len(steps) == 6
    _, _, log_in, choosing, sending, download = steps
    email = f"{time.time_ns()}@example.com"
    with Client(service.url) as client:
        client.register(email, PASSWORD, locale="pt-BR" if locale == "pt-BR" else "en")
    clip = service.data_dir / "demo" / "phone.mp4"
    with open_visitor_page(browser, service.url, locale=locale) as page:
        page.locator("#email").fill(email)
        page.locator("#password").fill(PASSWORD)
        page.get_by_role("button", name=bold(log_in)[0], exact=True).last.click()
        expect(page.locator("#workspace")).to_be_visible()
        with page.expect_file_chooser() as chooser:
            page.get_by_text(bold(choosing)[0], exact=True).click()
        chooser.value.set_files(clip)
        page.get_by_role("button", name=bold(sending)[0], exact=True).click()
        done, link = bold(download)
        archive = download_when_done(page, done, link, tmp_path / "phone.zip")
    assert len(images_in(archive)) == 5


def bold(step: str) -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", step)


def download_when_done(page: Page, done: str, download: str, path: Path) -> Path:
    row = file_row(page, "phone.mp4")
    expect(row).to_contain_text(done, timeout=60_000)
    with page.expect_download() as downloaded:
        row.get_by_role("link", name=download).click()
    downloaded.value.save_as(path)
    return path


@pytest.mark.skipif(not FULL, reason="a second whole service, on port 8000")
def test_first_command_of_the_tutorial_starts_the_service(tmp_path: Path) -> None:
    command = ["bash", "-c", f"exec 2>&1; {START_COMMAND}"]
    env = {**os.environ, "HOME": str(tmp_path), "UV_PROJECT": str(ROOT)}
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + 4 * START_SECONDS
        try:
            for line in process.stdout:
                lines.append(line)
                # The last line comes when the sample is extracted.
                if line.lstrip().startswith(DEMO_END) or time.monotonic() > deadline:
                    break
        finally:
            # As Ctrl-C does, for the shell, uv and the service.
            os.killpg(process.pid, signal.SIGINT)
            lines += process.stdout.readlines()
            # As root, the database lies where PostgreSQL's user can reach it.
            shutil.rmtree((tmp_path / ".fotograma" / "postgres").resolve(), ignore_errors=True)
    output = "".join(lines)
    assert READY in output, output
    assert DEMO_END in output, output
    assert "Ended. All data are kept." in output
    assert (tmp_path / ".fotograma" / "demo" / "phone.mp4").is_file()
