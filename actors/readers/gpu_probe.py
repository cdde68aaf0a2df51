"""What this machine's GPU can decode: `python -m actors.readers.gpu_probe` prints it as JSON.

A program of its own, because the driver's libraries may crash or hang, and a process that has used them holds memory
of the GPU. NVIDIA's interfaces: https://docs.nvidia.com/cuda/cuda-driver-api/ and, for `cuvidGetDecoderCaps`,
https://docs.nvidia.com/video-technologies/video-codec-sdk/.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, json

from actors.extraction_types import GpuDecoder

GPU_CODECS: Mapping[str, int] = {"h264": 4, "hevc": 8, "vp9": 10}
"""The codecs that decord hands to the GPU's decoder, with their numbers in `cudaVideoCodec`."""
BT709_LABEL = "+bt709"
"""In the version of a build of decord that converts colors by BT.709: docker/Dockerfile.gpu makes one."""
_YUV_420 = 1
_NAME_BYTES = 100


class GpuReport(Struct, frozen=True):
    """decord: its version. driver: the CUDA version of the driver. device: the name of the first GPU. codecs: those of
    decord that it decodes with 8 bits, 4:2:0. missing: what is not there, in sentences; empty when the GPU can be used.
    """

    decord: str = ""
    driver: str = ""
    device: str = ""
    codecs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def decoder(self) -> GpuDecoder | None:
        return None if self.missing else GpuDecoder(self.codecs, has_bt709=BT709_LABEL in self.decord)

    @property
    def about(self) -> str:
        """One line for people."""
        if self.missing:
            return " ".join(self.missing)
        return f"{self.device}, CUDA {self.driver}, decord {self.decord}: {', '.join(self.codecs)}"


class DecoderCaps(ctypes.Structure):
    """CUVIDDECODECAPS: the first four fields are the question."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma_format", ctypes.c_int),
        ("bit_depth_minus_8", ctypes.c_uint),
        ("reserved1", ctypes.c_uint * 3),
        ("is_supported", ctypes.c_ubyte),
        ("decoders", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort),
        ("max_width", ctypes.c_uint),
        ("max_height", ctypes.c_uint),
        ("max_macroblocks", ctypes.c_uint),
        ("min_width", ctypes.c_ushort),
        ("min_height", ctypes.c_ushort),
        ("reserved3", ctypes.c_uint * 11),
    )


class MissingError(Exception):
    """Something that decoding on the GPU needs is not there; the text says what."""


def probe_gpu() -> GpuReport:
    """Asks decord, the driver and the decoder of the first GPU."""
    missing: list[str] = []
    decord, driver, device = "", "", ""
    codecs: tuple[str, ...] = ()
    try:
        decord = _decord_with_cuda()
    except MissingError as error:
        missing.append(str(error))
    try:
        driver, device, codecs = _ask_driver()
    except MissingError as error:
        missing.append(str(error))
    return GpuReport(decord, driver, device, codecs, tuple(missing))


def _decord_with_cuda() -> str:
    """The version of decord. Raises MissingError when it can't decode on a GPU."""
    try:
        import decord  # noqa: PLC0415 - a build with CUDA can't be imported without the driver
        from decord._ffi.function import get_global_func  # noqa: PLC0415
    except (ImportError, OSError) as error:
        raise MissingError(f"decord can't be loaded: {error}.") from error
    if get_global_func("device_api.gpu", allow_missing=True) is None:
        raise MissingError(f"decord {decord.__version__} is built without CUDA.")
    if not decord.gpu(0).exist:
        raise MissingError("decord finds no GPU.")
    return str(decord.__version__)


def _ask_driver() -> tuple[str, str, tuple[str, ...]]:
    """CUDA version, name of the first GPU, codecs. Raises MissingError."""
    cuda = _library("libcuda.so.1", "NVIDIA's driver")
    _call(cuda, "cuInit", 0)
    version, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    _call(cuda, "cuDeviceGet", ctypes.byref(device), 0)
    _call(cuda, "cuDeviceGetName", name, _NAME_BYTES, device)
    _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    _call(cuda, "cuCtxSetCurrent", context)
    decoder = _library("libnvcuvid.so.1", "the driver's decoder (NVIDIA_DRIVER_CAPABILITIES needs `video`)")
    codecs = tuple(codec for codec, number in GPU_CODECS.items() if _decodes(decoder, number))
    if not codecs:
        raise MissingError(f"The GPU {name.value.decode()} decodes none of the codecs {', '.join(GPU_CODECS)}.")
    return f"{version.value // 1000}.{version.value % 1000 // 10}", name.value.decode(), codecs


def _decodes(decoder: ctypes.CDLL, codec: int) -> bool:
    caps = DecoderCaps(codec=codec, chroma_format=_YUV_420)
    _call(decoder, "cuvidGetDecoderCaps", ctypes.byref(caps))
    return bool(caps.is_supported)


def _library(name: str, what: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise MissingError(f"There is no {name}: {what} is not there.") from error


def _call(library: ctypes.CDLL, function: str, *arguments: Any) -> None:
    result = getattr(library, function)(*arguments)
    if result != 0:
        raise MissingError(f"{function} of NVIDIA's driver answered with error {result}.")


if __name__ == "__main__":
    sys.stdout.buffer.write(json.encode(probe_gpu()))
