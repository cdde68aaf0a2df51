"""`docs/reference/python.md`: the public names of the package `fotograma`, from their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import fotograma
from docsite.markdown import code_block, page

_INTRO = """# Python

The public names of `import fotograma`, from their docstrings. The examples run in a test: `client` is a logged-in
`Client`, `clip` a file, `video` and `extraction` what the service has of it. [Python](../clients.md#python) says how
they work together.
"""
_EXAMPLE = re.compile(r"^ *>>>.*\n?(?:^ *\S.*\n?)*", re.MULTILINE)
"""From its first `>>>` to the next empty line."""
MAX_LINE = 100


def python_page() -> str:
    """The whole document, in Markdown."""
    public = {name: getattr(fotograma, name) for name in fotograma.__all__ if name != "__version__"}
    clients = {name: public[name] for name in ("Client", "AsyncClient")}
    errors = {name: value for name, value in public.items() if _is_error(value)}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    known = clients | errors | functions
    values = {name: value for name, value in public.items() if name not in known}
    return page(
        _INTRO,
        "## Clients",
        *(_class(name, value, has_methods=name == "Client") for name, value in clients.items()),
        "## Functions",
        *(_entry("###", name, name, value) for name, value in functions.items()),
        "## Values",
        *(_class(name, value, has_methods=True) for name, value in values.items()),
        "## Errors",
        *(_class(name, value, has_methods=True) for name, value in errors.items()),
    )


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def _class(name: str, kind: Any, *, has_methods: bool) -> str:
    members = _members(kind) if has_methods else ()
    entry = _entry("###", name, name, kind)
    return page(entry, *(_entry("####", f"{name}.{member}", member, value) for member, value in members))


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    for name, value in inspect.getmembers_static(kind):
        is_inherited = _is_error(kind) and name not in vars(kind)
        if name.startswith("_") or name in fields or isinstance(value, enum.Enum) or is_inherited:
            continue
        if isinstance(value, property) or (inspect.isfunction(value) and value.__doc__):
            yield name, value


def _entry(level: str, title: str, name: str, value: Any) -> str:
    return page(f"{level} {title}", code_block(_signature(name, value), "py"), *_text(value))


def _signature(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"{name}: {value.fget.__annotations__['return']}" if value.fget else name
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return f"{name} = {' | '.join(json.dumps(member.value) for member in value)}"
    if isinstance(value, type) and _is_error(value):
        return f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    prefix = "class " if inspect.isclass(value) else "async def " if inspect.iscoroutinefunction(value) else "def "
    signature = inspect.signature(value)
    returned = "" if inspect.isclass(value) else f" -> {signature.return_annotation}"
    parameters = list(_parameters(signature))
    line = f"{prefix}{name}({', '.join(parameters)}){returned}"
    if len(line) <= MAX_LINE:
        return line
    body = "".join(f"    {each},\n" for each in parameters)
    return f"{prefix}{name}(\n{body}){returned}"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    """Each parameter as in a definition, and `*` before those that have only a name."""
    is_keyword_only = False
    for each in signature.parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            yield "*"
        annotation = "" if each.annotation is each.empty else f": {each.annotation}"
        default = "" if each.default is each.empty else f" = {each.default!r}"
        star = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        is_keyword_only = is_keyword_only or star == "*"
        yield f"{star}{each.name}{annotation}{default}"


def _text(value: Any) -> Iterator[str]:
    """The docstring; its examples become blocks of code."""
    text = inspect.getdoc(value) or ""
    start = 0
    for example in _EXAMPLE.finditer(text):
        yield text[start : example.start()].strip()
        yield code_block(inspect.cleandoc(example[0]), "pycon")
        start = example.end()
    yield text[start:].strip()
