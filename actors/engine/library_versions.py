"""The versions of the libraries that decode."""

from __future__ import annotations

from collections.abc import Mapping

import av


def library_versions() -> Mapping[str, str]:
    return {"pyav": av.__version__, "ffmpeg": av.ffmpeg_version_info}
