"""The sentences about a result's warnings, for people, by their codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLACEHOLDER = re.compile(r"\{n(\d)\}")


@dataclass(frozen=True, slots=True)
class WarningText:
    """{n1}, {n2} …: the numbers of the warning's detail, in their order."""

    en: str
    pt: str

    def text(self, locale: str) -> str:
        return self.pt if locale.lower().startswith("pt") else self.en


# fmt: off
WARNING_TEXTS: Mapping[str, WarningText] = {
    "damaged": WarningText(
        "The container is damaged at some places; frames that were there are not in its table.",
        "O contêiner está danificado em alguns lugares; os quadros que estavam ali não constam da tabela."),
    "decord_disagreed": WarningText(
        "decord gave another picture than PyAV; PyAV read the whole file.",
        "O decord forneceu uma imagem diferente da do PyAV; o PyAV leu o arquivo inteiro."),
    "duplicate_timestamps": WarningText(
        "{n1} frames have the same time as another one and are left out.",
        "{n1} quadros têm o mesmo tempo que outro e ficaram de fora."),
    "frames_missing": WarningText(
        "{n1} of {n2} frames could not be decoded with certainty and are left out, the first at {n3} s.",
        "{n1} de {n2} quadros não puderam ser decodificados com certeza e ficaram de fora, o primeiro em {n3} s."),
    "gpu_fallback": WarningText(
        "The GPU did not decode this file; the processor did.",
        "A GPU não decodificou este arquivo; o processador o decodificou."),
    "late_start": WarningText(
        "{n1} frames come before the first key frame and can't be decoded; time 0 is the first that can.",
        "{n1} quadros vêm antes do primeiro quadro-chave e não podem ser decodificados; o tempo 0 é o do primeiro que pode."),
    "max_frames_reached": WarningText(
        "The first {n1} of {n2} selected frames are given.",
        "São fornecidos os primeiros {n1} de {n2} quadros selecionados."),
    "reader_fallback": WarningText(
        "decord is not used for this file; PyAV read it.",
        "O decord não serve para este arquivo; o PyAV o leu."),
    "times_outside_video": WarningText(
        "{n1} of the times are outside the video.",
        "{n1} dos tempos estão fora do vídeo."),
    "truncated": WarningText(
        "The file breaks off; what comes before that place was read.",
        "O arquivo termina antes da hora; o que vem antes desse ponto foi lido."),
    "unchecked": WarningText(
        "The pictures don't pass the checks of their decoder; they are given as they come out of it.",
        "As imagens não passam nas verificações do decodificador; elas vêm como saem dele."),
}
# fmt: on


def warning_sentence(code: str, detail: str, locale: str) -> str:
    """The sentence of a warning in a language. The detail itself when its code or its numbers are not known."""
    known = WARNING_TEXTS.get(code)
    if known is None or not locale.lower().startswith("pt"):
        return detail
    template = known.text(locale)
    numbers = [number.replace(".", ",") for number in _NUMBER.findall(detail)]
    places = [int(place) for place in _PLACEHOLDER.findall(template)]
    if max(places, default=0) > len(numbers):
        return detail
    return _PLACEHOLDER.sub(lambda found: numbers[int(found[1]) - 1], template)


def missing_frames(code: str, detail: str) -> int:
    """How many frames a result lacks by a warning: the first number of the detail of `frames_missing`; 0 by others."""
    found = _NUMBER.match(detail) if code == "frames_missing" else None
    return int(found[0]) if found else 0
