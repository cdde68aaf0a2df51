"""What a check has found: whether it is well, what to do if not, and where it is set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """subject: what was checked. text: a sentence. remedy: what to do, empty when nothing is. where: the variable in
    which it is set; empty when it is set nowhere. is_lasting: whether waiting does not change it.
    """

    subject: str
    level: Level
    text: str
    remedy: str = ""
    where: str = ""
    is_lasting: bool = True

    @property
    def sentence(self) -> str:
        """All of it in one line, for the error of a start."""
        where = f"{self.where}: " if self.where and self.where not in self.text else ""
        return f"{where}{self.text} {self.remedy}".rstrip()


def ok(subject: str, text: str, where: str = "") -> Finding:
    return Finding(subject, Level.OK, text, where=where)


def warn(subject: str, text: str, remedy: str, where: str = "") -> Finding:
    return Finding(subject, Level.WARN, text, remedy, where)


def fail(subject: str, text: str, remedy: str, where: str = "", *, is_lasting: bool = True) -> Finding:
    return Finding(subject, Level.FAIL, text, remedy, where, is_lasting)


def reason_of(error: BaseException) -> str:
    """The first line of the error's message; without a message, the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
