"""What a parameter may be: the frozen model behind every section, and the types of its fields."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


class Section(BaseModel):
    """A mapping in params.yaml. Keys that are no field are refused, and no value is taken for one of another type."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # `--help` reads no parameters, and need not wait for the validators.
        defer_build=True,
    )


@dataclass(frozen=True)
class Words:
    """Says what a type allows, where its bounds do not."""

    text: str
    """As it stands after "it must be"."""


@dataclass(frozen=True)
class Repeatable:
    """Marks a list of which items may be equal."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_as_tuple(value: Any) -> Any:
    return (value,) if type(value) in (int, float) else _as_tuple(value)


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("repeated")
    return values


def _zero_or_from_one(value: float) -> float:
    if 0 < value < 1:
        raise ValueError("between 0 and 1")
    return value


def _or_one(schema: dict[str, Any]) -> None:
    """Let a JSON schema of a list accept one item without the list."""
    listed = {name: schema.pop(name) for name in ("type", "items", "minItems")}
    schema["anyOf"] = [listed["items"], listed]


def _or_one_different(schema: dict[str, Any]) -> None:
    """The same of a list whose items differ."""
    _or_one(schema)
    schema["anyOf"][1]["uniqueItems"] = True


_ZERO_OR_FROM_ONE: dict[str, Any] = {"anyOf": [{"const": 0}, {"minimum": 1}]}

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
ShareFromZero = Annotated[float, Field(ge=0, le=1)]
ProperShare = Annotated[float, Field(gt=0, lt=1)]
ZeroOrFromOne = Annotated[
    float,
    Field(ge=0, json_schema_extra=_ZERO_OR_FROM_ONE),
    AfterValidator(_zero_or_from_one),
    Words("0 or a number, at least 1"),
]
AutoOrNumber = Annotated[Literal["auto"] | float, Words("auto or a number")]
Text = Annotated[str, Field(pattern=r"\S")]
Url = Annotated[
    str,
    Field(pattern=r"^https?://[^/@]*(/.*)?$"),
    Words("a URL that begins with http:// or https:// and has no name or password in it"),
]
Variable = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    Words("the name of an environment variable, never the key itself: letters, digits and _"),
]
Address = Annotated[str, Field(pattern=r"^[^\s:/]+:\d+$"), Words("host:port")]
NumberFormat = Literal["float32", "bfloat16", "float16"]

Several = Annotated[
    tuple[T, ...],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
    BeforeValidator(_as_tuple),
]
"""A list without repetition, a tuple in Python."""

Positives = Annotated[
    tuple[Positive, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    Words("a list of numbers above 0"),
]
"""Numbers of which some may be equal, a tuple in Python."""

Factors = Annotated[
    tuple[Positive, ...],
    Field(json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
    BeforeValidator(_as_tuple),
    Words("a list of numbers above 0, each at most once; it may be empty"),
]

Texts = Annotated[
    tuple[Text, ...],
    Field(json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
    BeforeValidator(_as_tuple),
    Words("a list of names, each at most once; it may be empty"),
]

NotNegativeInt = Annotated[int, Field(ge=0)]

Iterations = Annotated[
    tuple[NotNegativeInt, ...],
    Field(json_schema_extra={"uniqueItems": True}),
    AfterValidator(_different),
    BeforeValidator(_as_tuple),
    Words("a list of whole numbers, at least 0, each at most once; it may be empty"),
]

OneOrSeveral = Annotated[
    tuple[T, ...],
    Field(min_length=1, json_schema_extra=_or_one_different),
    AfterValidator(_different),
    BeforeValidator(_one_as_tuple),
]
"""The same, where a number without a list around it is a list of one."""

OneOrMany = Annotated[
    tuple[T, ...],
    Field(min_length=1, json_schema_extra=_or_one),
    BeforeValidator(_one_as_tuple),
    Repeatable(),
]
"""The same, where some may be equal."""
