"""The names that `import fotograma` offers, and what the import loads."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest

import fotograma
from cluster import installed_engine
from cluster.client import extraction_spec as written
from cluster.client.extraction_spec import spec_text
from db.values import frame_spec as read
from fotograma import ExtractionSpec, FotogramaError, LocalFileNotFound, PackageMissing

ROOT = Path(__file__).parents[3]


def loaded_after(script: str) -> set[str]:
    """Names of the top-level packages that a fresh interpreter has loaded after the script."""
    script = f"import sys\n{script}\nprint(*(name.partition('.')[0] for name in sys.modules))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(process.stdout.split())


def test_import_alone_loads_no_other_package() -> None:
    others = loaded_after("import fotograma; dir(fotograma)") - loaded_after("import __future__, importlib, typing")
    assert others == {"fotograma"}


def test_errors_and_specifications_load_no_library() -> None:
    loaded = loaded_after("from fotograma import ApiError, EngineError, ExtractionSpec, RetryPolicy, extract")
    assert not loaded & {"ray", "av", "numpy", "httpx", "serve_app", "sqlalchemy", "pydantic", "typer"}


def test_clients_load_nothing_of_the_engine_or_the_server() -> None:
    loaded = loaded_after("from fotograma import AsyncClient, Client")
    assert "httpx" in loaded
    assert not loaded & {"ray", "db", "serve_app", "actors", "sqlalchemy", "pydantic", "typer"}


def test_every_public_name_exists() -> None:
    assert dir(fotograma) == sorted(fotograma.__all__)
    assert {name for name in fotograma.__all__ if getattr(fotograma, name) is None} == set()
    assert fotograma.__version__ == version("fotograma")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fotograma' has no attribute 'Clint'"):
        fotograma.Clint  # type: ignore[attr-defined]  # noqa: B018 - it is not there


def errors_of_the_sdk(root: type[FotogramaError]) -> Iterator[str]:
    """The names of the class and of its subclasses in `cluster.client.errors`."""
    if root.__module__ == FotogramaError.__module__:
        yield root.__name__
    for subclass in root.__subclasses__():
        yield from errors_of_the_sdk(subclass)


def test_all_errors_have_one_root() -> None:
    values = [getattr(fotograma, name) for name in fotograma.__all__]
    errors = [value for value in values if isinstance(value, type) and issubclass(value, Exception)]
    assert {error.__name__ for error in errors} == {*errors_of_the_sdk(FotogramaError), "EngineError"}
    assert {error for error in errors if not issubclass(error, fotograma.FotogramaError)} == set()


def test_type_checkers_read_the_types_of_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "fotograma" in packages
    assert [name for name in packages if not (ROOT / name / "py.typed").is_file()] == ["serve_app"]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ExtractionSpec(), "{}"),
        (ExtractionSpec(fps=1), '{"sample":{"mode":"fps","fps":1}}'),
        (ExtractionSpec(fps=Decimal("29.970")), '{"sample":{"mode":"fps","fps":29.970}}'),
        (ExtractionSpec(sample={"mode": "keyframes"}, max_frames=3), '{"sample":{"mode":"keyframes"},"max_frames":3}'),
        (
            ExtractionSpec(range={"start": 0.1, "end": None}, image={"format": "png"}, snap="keyframe"),
            '{"range":{"start":0.1,"end":null},"image":{"format":"png"},"snap":"keyframe"}',
        ),
    ],
)
def test_specification_is_sent_with_the_given_fields_only(spec: ExtractionSpec, text: str) -> None:
    assert spec_text(spec) == text
    read.parse(text)


def test_fps_and_sample_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="give fps or sample, not both"):
        ExtractionSpec(fps=1, sample={"mode": "all"})


def fields_of(kind: type) -> set[str]:
    return set(get_type_hints(kind))


def test_fields_of_the_specification_equal_those_that_the_service_reads() -> None:
    assert fields_of(ExtractionSpec) == fields_of(read.FrameSpec) | {"fps"}
    assert fields_of(written.Range) == fields_of(read.Range)
    assert fields_of(written.Image) == fields_of(read.Image)
    hints = get_type_hints(written.Image)
    assert set(get_args(hints["format"])) == set(read.ImageFormat)
    # `snap` is a Literal or None.
    (snap,) = (kind for kind in get_args(get_type_hints(ExtractionSpec)["snap"]) if get_args(kind))
    assert set(get_args(snap)) == set(read.Snap)


VALUES: dict[str, Any] = {"fps": 2, "seconds": 2, "count": 2, "at": [2], "n": 2, "threshold": 2}


def test_every_sample_mode_can_be_written() -> None:
    assert isinstance(written.Sample, UnionType)
    kinds = set()
    for shape in get_args(written.Sample):
        hints = get_type_hints(shape)
        values = {name: VALUES[name] for name in hints if name != "mode"}
        for mode in get_args(hints["mode"]):
            parsed = read.from_document({"sample": {"mode": mode, **values}}).sample
            assert set(hints) == {"mode", *fields_of(type(parsed))}
            kinds.add(type(parsed))
    assert kinds == set(get_args(read.Sample))


def test_missing_engine_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installed_engine, "find_spec", lambda name: None if name == "decord" else object())
    with pytest.raises(PackageMissing, match=r'pip install "fotograma\[engine\]"') as missing:
        fotograma.extract(tmp_path / "a.mp4")
    assert (missing.value.package, missing.value.code) == ("decord", "package_missing")


def test_missing_video_is_an_error_of_the_package_and_of_python(tmp_path: Path) -> None:
    with pytest.raises(LocalFileNotFound) as missing:
        fotograma.extract(tmp_path / "missing.mp4", out=tmp_path / "frames")
    assert (missing.value.code, isinstance(missing.value, FileNotFoundError)) == ("local_file", True)
