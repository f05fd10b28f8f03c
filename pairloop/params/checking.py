"""From a mapping of the user's to a section, or to a message in the user's own terms."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pairloop.errors import ParameterError, meant
from pairloop.params.settings import Repeatable, Section, Words

S = TypeVar("S", bound=Section)


def build(section: type[S], values: Any, where: str) -> S:
    """A section from a mapping; `where` is its place in the YAML file, empty for the whole file.

    Raises:
        ParameterError: keys are unknown (the nearest known name is given), or values of the wrong type or out of range:
            a line for each.
    """
    if not isinstance(values, Mapping):
        raise ParameterError(_no_section(section, values, where))
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        found = [_message(section, values, e["loc"], where) for e in error.errors(include_url=False)]
        raise ParameterError("\n".join(dict.fromkeys(found))) from None


def replaced(section: S, where: str, **changes: Any) -> S:
    """The same section with other values, which are checked as those of params.yaml are.

    Raises:
        ParameterError: as `build`.
    """
    return build(type(section), dict(section) | changes, where)


def allowed(field: FieldInfo) -> str:
    """In words what a field accepts."""
    return _words(field.annotation, field.metadata)


def subsection(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, or None where it holds a value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _message(section: type[Section], values: Mapping[Any, Any], place: Sequence[Any], where: str) -> str:
    """What is wrong at a place, which pydantic gives as keys and, inside a value, more."""
    key, known = place[0], section.model_fields
    if key not in known:
        return f"{_join(where, key)} is no parameter{meant(str(key), list(known))}"
    field, value, at = known[key], values[key], _join(where, key)
    if inner := subsection(field):
        return _message(inner, value, place[1:], at) if isinstance(value, Mapping) else _no_section(inner, value, at)
    return f"{at} is {value!r}: it must be {allowed(field)}{_remedy(value, field)}"


def _no_section(section: type[Section], value: Any, where: str) -> str:
    return (
        f"{where or 'params'} is {value!r}: it must be a section with keys, such as {next(iter(section.model_fields))}"
    )


def _remedy(value: Any, field: FieldInfo) -> str:
    """What a range alone does not say about a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return ", not infinite or undefined"
    if isinstance(value, str) and "number" in allowed(field) and _is_number(value):
        return ". Write the number without quotes, in digits, as 0.1 or 5e-7"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _words(kind: Any, bounds: Sequence[Any] = ()) -> str:
    """What a type with its bounds accepts."""
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return _words(arguments[0], [*_flat(arguments[1:]), *bounds])
    for bound in bounds:
        if isinstance(bound, Words):
            return bound.text
    if NoneType in arguments:
        return f"null or {_words(next(a for a in arguments if a is not NoneType), bounds)}"
    origin = get_origin(kind) or kind
    if origin is tuple:
        return _list(arguments[0]) + ("" if Repeatable() in bounds else ", each at most once")
    if origin is Mapping:
        return f"a mapping with {_words(arguments[1])} for one or more of {', '.join(get_args(arguments[0]))}"
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    limits = {name: value for bound in bounds for name, value in _limits(bound)}
    return {bool: "true or false", str: "a text"}.get(kind) or _range(kind, limits)


def _flat(annotations: Sequence[Any]) -> Iterator[Any]:
    for one in annotations:
        yield from one.metadata if isinstance(one, FieldInfo) else (one,)


def _limits(bound: Any) -> Iterator[tuple[str, float]]:
    return ((name, getattr(bound, name)) for name in ("gt", "ge", "lt", "le") if hasattr(bound, name))


def _list(kind: Any) -> str:
    if get_origin(kind) is Annotated and get_args(kind)[0] is float:
        return f"{_words(kind)}, or a list of such numbers"
    names = ", ".join(get_args(kind)) if get_origin(kind) is Literal else "names"
    return f"a list of {names}"


def _range(kind: type, limits: Mapping[str, float]) -> str:
    number = "a whole number" if kind is int else "a number"
    match limits:
        case {"ge": low, "le": high}:
            return f"{number} from {low} to {high}"
        case {"ge": low, "lt": high}:
            return f"{number} from {low}, below {high}"
        case {"ge": low}:
            return f"{number}, at least {low}"
        case {"gt": low, "le": high}:
            return f"{number} above {low}, at most {high}"
        case {"gt": low, "lt": high}:
            return f"{number} above {low} and below {high}"
        case {"gt": low}:
            return f"{number} above {low}"
        case _:
            return number
