"""The command line, in its own process, with a fake service over real connections."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clients.fake_messages import ApiRequest, ApiResponse, corrupt_body, problem_response
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_http_server import serve_fake_service

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def environ(service: FakeService, tmp_path: Path) -> Iterator[dict[str, str]]:
    with serve_fake_service(service) as url:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOTOGRAMA_")}
        yield (
            inherited
            | {"FOTOGRAMA_URL": url, "XDG_CONFIG_HOME": str(tmp_path / "config"), "PYTHONWARNINGS": "error"}
            | {"XDG_STATE_HOME": str(tmp_path / "state")}
        )


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cluster.cli.app", *arguments]
        # A user runs the command in another folder than the tests'.
        env = environ | {"PYTHONPATH": os.getcwd(), "FOTOGRAMA_API_KEY": "fg_key"} | variables
        return subprocess.run(
            command,
            check=False,
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    return run_command


@pytest.fixture
def clips(tmp_path: Path) -> None:
    for name in ("one", "two", "warned", "broken"):
        (tmp_path / f"{name}.mp4").write_bytes(b"video " + name.encode())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "one.mov").write_bytes(b"video again")
    (tmp_path / "notes.mp4").write_bytes(b"dear diary")


def test_login_stores_a_session_that_later_commands_use_and_renew(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    no_token = {"FOTOGRAMA_API_KEY": ""}
    completed = run(
        "login", "--email", "ana@example.org", "--register", FOTOGRAMA_PASSWORD="right password", **no_token
    )
    assert completed.returncode == 0, completed.stderr
    assert "as ana@example.org" in completed.stdout
    credentials = tmp_path / "config" / "fotograma" / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert "password" not in credentials.read_text()
    service.expire_access_token()
    with ThreadPoolExecutor(3) as threads:
        lists = list(threads.map(lambda _: run("list", **no_token), range(3)))
    assert [completed.returncode for completed in lists] == [0, 0, 0], [completed.stderr for completed in lists]
    # Three processes run at once, but only one refreshes: a second use of the token would have ended the session.
    assert service.refresh_count == 1
    assert run("logout", **no_token).returncode == 0
    refused = run("list", **no_token)
    assert refused.returncode == 77
    assert "fotograma login" in refused.stderr


def test_wrong_password_is_printed_with_its_remedy(run: Run, tmp_path: Path) -> None:
    refused = run("login", "--email", "ana@example.org", FOTOGRAMA_PASSWORD="wrong")
    assert refused.returncode == 77
    assert refused.stderr.splitlines() == [
        "Error: This is bad_credentials. (bad_credentials)",
        "  Remedy of bad_credentials.",
    ]
    assert not (tmp_path / "config" / "fotograma" / "credentials.json").exists()


@pytest.mark.usefixtures("clips")
def test_several_files_become_archives_and_folders(run: Run, service: FakeService, tmp_path: Path) -> None:
    completed = run("extract", "one.mp4", "two.mp4", "other/one.mov", "--fps", "29.970", "-o", "out", "--unpack")
    assert completed.returncode == 0, completed.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["one", "one-2", "one-2.zip", "one.zip", "two", "two.zip"]
    assert (tmp_path / "out" / "one.zip").read_bytes() == service.archive
    assert sorted(path.name for path in (tmp_path / "out" / "one").iterdir()) == [
        "frame_000001_t000000.000.jpg",
        "frame_000002_t000001.000.jpg",
        "manifest.csv",
        "manifest.json",
        "metadata.csv",
        "video.json",
    ]
    video = json.loads((tmp_path / "out" / "one-2" / "video.json").read_text())
    assert (video["version"], video["filename"], video["prefix"]) == (1, "one.mov", "")
    assert video["video_id"]
    assert video["extraction_id"]
    assert video["created_at"].endswith("Z")
    assert set(service.specs) == {'{"sample":{"mode":"fps","fps":29.970}}'}
    assert "other/one.mov: is written as one-2.zip" in completed.stderr
    assert "one.mp4: 2 frames → out/one/" in completed.stdout
    assert "\x1b" not in completed.stdout


@pytest.mark.usefixtures("clips")
def test_prefix_names_the_images_by_their_video_and_needs_unpack(run: Run, tmp_path: Path) -> None:
    arguments = ("extract", "one.mp4", "other/one.mov", "-o", "out", "--prefix")
    refused = run(*arguments)
    assert (refused.returncode, "--unpack" in refused.stderr) == (2, True)
    assert run(*arguments, "--unpack").returncode == 0
    names = [path.name for path in (tmp_path / "out").glob("*/*.jpg")]
    assert sorted(names) == sorted(
        f"{stem}_frame_00000{n}_t00000{n - 1}.000.jpg" for stem in ("one", "one-2") for n in (1, 2)
    )
    again = run(*arguments, "--unpack")
    assert "one/ (unchanged)" in again.stdout
    assert run(*arguments[:-1], "--unpack").returncode == 0
    assert len(list((tmp_path / "out" / "one").glob("frame_*.jpg"))) == 2
    assert len(list((tmp_path / "out" / "one").iterdir())) == 6


@pytest.mark.usefixtures("clips")
def test_second_run_on_the_same_folder_sends_and_writes_nothing(run: Run, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").unlink()
    (tmp_path / "broken.mp4").unlink()
    first = run("extract", ".", "--recursive", "-o", "out", "--unpack")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1].startswith(
        "4 videos: 4 taken; 3 done, 1 done with warnings; 8 frames, 0.0 MB sent in "
    )
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    service.requests.clear()
    again = run("extract", "*.mp4", "other", "-o", "out", "--unpack")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1].startswith(
        "4 videos: 4 taken; 3 done, 1 done with warnings (4 unchanged); 8 frames in "
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == written
    assert {request.method for request in service.requests} == {"GET"}
    assert not service.requests_to("GET", ".*zip")


@pytest.mark.usefixtures("clips")
def test_other_specification_sends_no_file_again(run: Run, service: FakeService) -> None:
    assert run("extract", "one.mp4", "-o", "out").returncode == 0
    service.requests.clear()
    assert run("extract", "one.mp4", "--fps", "2", "-o", "out").returncode == 0
    assert [request.path for request in service.requests if request.method == "POST"] == ["/v1/videos/v-1/extractions"]


@pytest.mark.usefixtures("clips")
def test_failure_of_the_service_exits_with_75(run: Run, service: FakeService) -> None:
    def fail(request: ApiRequest, carry_out: Callable[[], ApiResponse]) -> ApiResponse:
        return problem_response(500, "internal", fault="service")

    service.add_faults("GET", "/v1/videos/v-1", fail)
    assert run("extract", "one.mp4", "-o", "out").returncode == 75


@pytest.mark.usefixtures("clips")
def test_failed_videos_are_listed_and_the_others_downloaded(run: Run, tmp_path: Path) -> None:
    completed = run("extract", "notes.mp4", "one.mp4", "broken.mp4", "none.mp4", "warned.mp4", "-o", "out")
    assert completed.returncode == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.zip", "warned.zip"]
    assert "3 of 5 not done:" in completed.stderr
    assert "  notes.mp4: This is not_a_video. (not_a_video)\n    Remedy of not_a_video." in completed.stderr
    assert "  broken.mp4: Only sound. (no_video_stream)\n    Send pictures." in completed.stderr
    assert "none.mp4" in completed.stderr
    assert "warned.mp4: warning: There are more. (max_frames_reached)" in completed.stdout


@pytest.mark.usefixtures("clips")
def test_json_option_prints_one_document(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"max_frames": 2}')
    completed = run("extract", "one.mp4", "notes.mp4", "--spec", "@spec.json", "-o", "out", "--json")
    document = json.loads(completed.stdout)
    good, bad = document["items"]
    assert document["summary"] | {"seconds": 0} == {
        "status": "partial",
        "exit_code": 3,
        "videos": 2,
        "taken": 1,
        "done": 1,
        "done_with_warnings": 0,
        "failed": 0,
        "unfinished": 0,
        "refused": 1,
        "not_sent": 0,
        "kept": 0,
        "unchanged": 0,
        "frames": 2,
        "sent_bytes": len("video one") + len("dear diary"),
        "seconds": 0,
    }
    assert (good["file"], good["status"], good["frames"], good["archive"]) == ("one.mp4", "succeeded", 2, "out/one.zip")
    assert (bad["error"]["code"], bad["video_id"], completed.returncode) == ("not_a_video", None, 3)
    items = json.loads(run("list", "--json", "--status", "succeeded").stdout)["items"]
    assert [item["filename"] for item in items] == ["one.mp4"]
    assert items[0]["created_at"].endswith("Z")


@pytest.mark.usefixtures("clips")
def test_list_without_a_terminal_prints_one_line_for_each_video(run: Run) -> None:
    assert run("extract", "one.mp4", "two.mp4", "warned.mp4").returncode == 0
    rows = [line.split("\t") for line in run("list").stdout.splitlines()]
    assert {tuple(row[1:4]) for row in rows} == {("succeeded", "2", f"{n}.mp4") for n in ("one", "two", "warned")}
    assert len(run("list", "--limit", "1").stdout.splitlines()) == 1


@pytest.mark.usefixtures("clips")
def test_results_are_fetched_later_by_video_or_extraction(run: Run, service: FakeService, tmp_path: Path) -> None:
    service.add_faults("GET", ".*zip", corrupt_body)
    corrupt = run("extract", "one.mp4", "-o", "out")
    assert corrupt.returncode == 75
    assert "corrupt_archive" in corrupt.stderr
    assert run("download", "v-1", "e-1", "-o", "out").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one-2.zip", "one.zip"]
    unknown = run("download", "v-9", "-o", "out")
    assert (unknown.returncode, unknown.stdout) == (65, "")
    assert "not_found" in unknown.stderr


@pytest.mark.usefixtures("clips")
def test_ctrl_c_leaves_the_extractions_and_prints_how_to_download_them(
    service: FakeService, environ: dict[str, str], tmp_path: Path, run: Run
) -> None:
    service.polls_until_end = 10**9
    command = [sys.executable, "-m", "cluster.cli.app", "extract", "one.mp4", "two.mp4", "-o", "out"]
    env = environ | {"PYTHONPATH": os.getcwd(), "FOTOGRAMA_API_KEY": "fg_key", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    accepted = {process.stdout.readline(), process.stdout.readline()}
    assert accepted == {"one.mp4: accepted\n", "two.mp4: accepted\n"}
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 130, printed
    assert "The server goes on with 2 of the videos" in printed
    download = printed.splitlines()[-1].split()
    assert download[:2] == ["fotograma", "download"]
    service.polls_until_end = 1
    assert run(*download[1:]).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.zip", "two.zip"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "a.mp4", "--fps", "0"),
        ("extract", "a.mp4", "--fps", "fast"),
        ("extract", "a.mp4", "--spec", "{"),
        ("extract", "a.mp4", "--fps", "1", "--spec", "{}"),
        ("extract",),
        ("list", "--limit", "0"),
    ],
)
def test_wrong_option_is_refused_before_any_request(run: Run, service: FakeService, arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "Error" in refused.stderr
    assert not service.requests


def test_invalid_service_url_is_an_error(run: Run) -> None:
    assert "is not the address of a server" in run("list", FOTOGRAMA_URL="localhost").stderr


def test_version_and_help_do_not_import_slow_packages(run: Run) -> None:
    assert run("--version").stdout.startswith("fotograma ")
    assert "extract" in run("--help").stdout
    loaded = run("--help", PYTHONVERBOSE="1").stderr
    # The help text needs no package that is slow to import.
    assert "import 'typer" in loaded
    assert not [
        line
        for line in loaded.splitlines()
        if line.startswith(("import 'httpx", "import 'rich.progress", "import 'ray"))
    ]


@pytest.mark.usefixtures("clips")
def test_unwritable_state_folder_only_prevents_resuming(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("extract", "one.mp4", "-o", "out", XDG_STATE_HOME=str(tmp_path / "file"))
    assert done.returncode == 0
    assert "An upload can't go on after a crash of this command" in done.stderr


def test_file_names_with_control_characters_and_invalid_bytes_are_printed_escaped(run: Run, tmp_path: Path) -> None:
    for name in (b"broken\n\x1b[31m\xff.mp4", b"one\n\xff.mp4"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"video " + name)
    completed = run("extract", ".", "-o", "out")
    assert completed.returncode == 3
    assert "one\\n\\udcff.mp4: 2 frames" in completed.stdout
    assert "broken\\n\\x1b[31m\\udcff.mp4: Only sound. (no_video_stream)" in completed.stderr
    assert "\x1b" not in completed.stdout + completed.stderr
    as_json = run("extract", ".", "-o", "out", "--json")
    assert as_json.returncode == 3
    assert [os.fsencode(item["file"]) for item in json.loads(as_json.stdout)["items"]] == [
        b"broken\n\x1b[31m\xff.mp4",
        b"one\n\xff.mp4",
    ]


def make_deep_folders(folder: Path) -> None:
    """Makes nested folders whose path is too long for the system to open, also for root."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        subfolder = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = subfolder
    os.close(descriptor)


def test_unreadable_folder_is_skipped_with_the_exit_code_of_a_part(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "one.mp4").write_bytes(b"video one")
    (folder / "loop").symlink_to(folder)
    make_deep_folders(folder)
    try:
        completed = run("extract", "videos", "--recursive", "-o", "out")
        assert completed.returncode == 3
        assert completed.stdout.count("one.mp4: 2 frames") == 1
        assert completed.stderr.startswith("Skipped: [Errno 36] File name too long: 'videos/ddd")
        shutil.rmtree(folder / ("d" * 250))
        assert run("extract", "videos", "--recursive", "-o", "out").returncode == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
