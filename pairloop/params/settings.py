"""Fields of the parameter dataclasses: what each accepts, and building a section from a mapping."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Any

from pairloop.errors import ParameterError


def integer(default: int, low: int, high: int | None = None) -> Any:
    """A whole number from `low` to `high`."""
    allowed = f"a whole number from {low} to {high}" if high is not None else f"a whole number, at least {low}"
    return _field(default, allowed, lambda v: type(v) is int and low <= v and (high is None or v <= high))


def real(default: float, allowed: str, inside: Callable[[float], bool]) -> Any:
    """A number for which `inside` holds; `allowed` says that in words."""
    return _field(default, allowed, lambda v: type(v) in (int, float) and bool(inside(v)))


def reals(default: tuple[float, ...], allowed: str, inside: Callable[[float], bool]) -> Any:
    """One number for which `inside` holds, or a list of different ones; `allowed` says in words what one is."""

    def each(values: tuple[Any, ...]) -> bool:
        numbers = all(type(v) in (int, float) and bool(inside(v)) for v in values)
        return numbers and len(values) > 0 and len(set(values)) == len(values)

    allowed = f"{allowed}, or a list of such numbers, each at most once"
    return _field(default, allowed, lambda v: each(v if isinstance(v, tuple) else (v,)))


def optional_integer(low: int) -> Any:
    """A whole number from `low`, or null."""
    return _field(None, f"null or a whole number, at least {low}", lambda v: v is None or (type(v) is int and v >= low))


def optional_real(allowed: str, inside: Callable[[float], bool]) -> Any:
    """A number for which `inside` holds, or null; `allowed` says that in words."""
    return _field(None, allowed, lambda v: v is None or (type(v) in (int, float) and bool(inside(v))))


def choice(default: str, *options: str) -> Any:
    """One of a few words."""
    return _field(default, "one of " + ", ".join(options), lambda v: v in options)


def text(default: str) -> Any:
    """Any text that is not empty."""
    return _field(default, "a text", lambda v: isinstance(v, str) and v.strip() != "")


def optional_text(default: str | None = None) -> Any:
    """A text or null."""
    return _field(default, "a text or null", lambda v: v is None or (isinstance(v, str) and v.strip() != ""))


def optional_url() -> Any:
    """An http or https URL, or null."""
    allowed = "null or a URL that begins with http:// or https://"
    return _field(None, allowed, lambda v: v is None or (isinstance(v, str) and v.startswith(("http://", "https://"))))


def optional_address() -> Any:
    """host:port, or null."""
    fits = re.compile(r"[^\s:/]+:\d+").fullmatch
    return _field(None, "null or host:port", lambda v: v is None or (isinstance(v, str) and fits(v) is not None))


def optional_choice(*options: str) -> Any:
    """One of a few words, or null."""
    return _field(None, "null or one of " + ", ".join(options), lambda v: v is None or v in options)


def weights(default: Mapping[str, float], *options: str) -> Any:
    """Numbers above 0 for some of `options`."""
    allowed = "a mapping with a number above 0 for one or more of " + ", ".join(options)

    def accepts(value: Any) -> bool:
        numbers = isinstance(value, Mapping) and all(type(v) in (int, float) and v > 0 for v in value.values())
        return bool(numbers and value and set(value) <= set(options))

    return field(default_factory=lambda: dict(default), metadata={"allowed": allowed, "accepts": accepts})


def flag(default: bool) -> Any:
    """true or false."""
    return _field(default, "true or false", lambda v: type(v) is bool)


def names(default: tuple[str, ...], *options: str) -> Any:
    """A list without repetition; of `options`, where there are any."""
    allowed = "a list of " + (", ".join(options) if options else "names") + ", each at most once"
    return _field(
        default,
        allowed,
        lambda v: (
            isinstance(v, tuple)
            and len(v) > 0
            and len(set(v)) == len(v)
            and all(isinstance(x, str) and (not options or x in options) for x in v)
        ),
    )


def _field(default: Any, allowed: str, accepts: Callable[[Any], bool]) -> Any:
    return field(default=default, metadata={"allowed": allowed, "accepts": accepts})


def build(section: Any, values: Any, where: str) -> Any:
    """An instance of the dataclass `section` from a mapping; `where` is its place in the YAML file.

    Raises:
        ParameterError: a key is unknown (the nearest known name is given), of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ParameterError(f"{where} is {values!r}: it must be a section with keys")
    types = typing.get_type_hints(section)
    for key in values:
        if key not in types:
            raise ParameterError(f"{_join(where, key)} is no parameter{_nearest(str(key), list(types))}")
    built = {}
    for f in fields(section):
        if f.name not in values:
            continue
        value = values[f.name]
        if dataclasses.is_dataclass(types[f.name]):
            built[f.name] = build(types[f.name], value, _join(where, f.name))
        else:
            built[f.name] = _checked(f, value, _join(where, f.name))
    return section(**built)


def _checked(f: "dataclasses.Field[Any]", value: Any, where: str) -> Any:
    value = tuple(value) if isinstance(value, list) else value
    if not f.metadata["accepts"](value):
        shown = list(value) if isinstance(value, tuple) else value
        raise ParameterError(f"{where} is {shown!r}: it must be {f.metadata['allowed']}")
    if isinstance(f.default, tuple) and isinstance(f.default[0], float):
        return tuple(float(v) for v in (value if isinstance(value, tuple) else (value,)))
    return float(value) if isinstance(f.default, float) else value


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f". Known: {', '.join(known)}"
