"""Both clients have the same methods with the same arguments, and none of them is made for tests."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import fotograma
from fotograma import AsyncClient, Client

TEST_SEAMS = {"clock", "sleep", "monotonic", "random", "transport", "new_key", "now", "wait", "http"}
INNER_PARTS = {"session", "store", "flow"}


def public_members(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers_static(kind) if not name.startswith("_")}


METHODS = sorted(name for name, value in public_members(Client).items() if callable(value))


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def test_both_clients_have_the_same_members() -> None:
    assert public_members(AsyncClient).keys() == public_members(Client).keys()
    assert len(METHODS) > 35


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_both_clients_take_the_same_arguments(name: str) -> None:
    assert parameters(getattr(AsyncClient, name)) == parameters(getattr(Client, name))


@pytest.mark.parametrize("name", METHODS)
def test_asyncio_client_gives_the_same_values_as_the_blocking_one(name: str) -> None:
    blocking = get_type_hints(getattr(Client, name))["return"]
    asynchronous = get_type_hints(getattr(AsyncClient, name))["return"]
    if get_origin(blocking) is Iterator:
        assert get_origin(asynchronous) is AsyncIterator
        blocking, asynchronous = get_args(blocking), get_args(asynchronous)
    else:
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name))
    assert asynchronous == blocking


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions, the constructors of values and clients, and the methods of all public names."""
    for name in fotograma.__all__:
        value = getattr(fotograma, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            methods = {"__init__": value.__init__} | public_members(value)
            yield from ((f"{name}.{each}", method) for each, method in methods.items() if inspect.isfunction(method))


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_is_made_for_tests_or_is_an_inner_part(name: str) -> None:
    assert {parameter.name for parameter in parameters(FUNCTIONS[name])} & (TEST_SEAMS | INNER_PARTS) == set()


@pytest.mark.parametrize("name", METHODS)
def test_method_of_the_asyncio_client_is_described_by_that_of_the_blocking_one(name: str) -> None:
    assert getattr(AsyncClient, name).__doc__ == f"As `Client.{name}`."
