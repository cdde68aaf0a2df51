"""`fotograma.extract`: the engine as a library."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.engine import extract as engine
from actors.extraction_types import RESULT_FILES, EngineOptions
from db.values.frame_spec import parse
from fotograma import EngineError, ExtractionSpec, FotogramaError, extract, extract_many
from tests.support.videos.clips import ClipByName, write_text_file

SPEC = '{"sample": {"mode": "fps", "fps": 5}}'


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "frames.zip").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "spec", [SPEC, {"sample": {"mode": "fps", "fps": 5}}, ExtractionSpec(fps=5)], ids=["text", "dict", "ExtractionSpec"]
)
def test_every_form_of_a_specification_gives_the_same_archive(spec: Any, clips: ClipByName, tmp_path: Path) -> None:
    source, _ = clips("h264_b_frames")
    plain = tmp_path / "plain"
    plain.mkdir()
    expected = engine.extract(source, parse(SPEC), plain, options=EngineOptions())
    extracted = extract(str(source), spec, str(tmp_path / "new" / "out"))
    assert extracted == expected
    assert digest(tmp_path / "new" / "out") == expected.sha256


def test_default_folder_is_named_after_the_video(
    clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, _ = clips("h264")
    extract(source)
    assert {path.name for path in Path("frames", source.stem).iterdir()} == set(RESULT_FILES)


def test_several_specifications_get_a_folder_each(clips: ClipByName, tmp_path: Path) -> None:
    source, _ = clips("h264")
    requests = [(ExtractionSpec(fps=2), tmp_path / "a"), (None, tmp_path / "b")]
    results = extract_many(source, requests)
    assert [digest(folder) for _, folder in requests] == [result.sha256 for result in results]


def test_progress_has_the_number_of_images(clips: ClipByName, tmp_path: Path) -> None:
    progress: list[tuple[int, int | None]] = []
    result = extract(clips("h264")[0], out=tmp_path, on_progress=lambda done, total: progress.append((done, total)))
    assert progress[0] == (0, result.frames)
    assert progress[-1] == (result.frames, result.frames)


def test_progress_has_no_total_during_scene_detection(clips: ClipByName, tmp_path: Path) -> None:
    progress: list[tuple[int, int | None]] = []
    spec = ExtractionSpec(sample={"mode": "scenes"})
    extract(clips("h264")[0], spec, tmp_path, on_progress=lambda done, total: progress.append((done, total)))
    assert progress[0] == (0, None)


def test_invalid_specification_raises_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="must be greater than 0") as caught:
        extract(tmp_path / "missing.mp4", ExtractionSpec(fps=0), tmp_path / "out")
    assert (caught.value.code, caught.value.fault) == ("invalid_spec", "request")
    assert caught.value.remedy == "Correct the field that the detail names."
    assert not (tmp_path / "out").exists()


def test_non_video_raises_a_file_error(tmp_path: Path) -> None:
    source = tmp_path / "notes.mp4"
    write_text_file(source)
    with pytest.raises(FotogramaError) as caught:
        extract(source, out=tmp_path / "out")
    assert isinstance(caught.value, EngineError)
    assert (caught.value.code, caught.value.fault) == ("not_a_video", "file")


def test_missing_file_raises_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "missing.mp4", out=tmp_path / "out")


def test_missing_engine_error_names_the_install_command() -> None:
    # With None in sys.modules an import raises ModuleNotFoundError.
    script = (
        "import sys, fotograma; sys.modules['av'] = None\n"
        "try: fotograma.extract('talk.mov')\n"
        "except fotograma.FotogramaError as error: print(error)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "fotograma[engine]"' in process.stdout
