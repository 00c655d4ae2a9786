"""The pydantic models of `apply` files, made from the options. Errors name file and field."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from vipctl.errors import UsageError, VipctlError
from vipctl.operate import asked
from vipctl.services import syntax
from vipctl.services.director import SETTINGS, Director, from_plain
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.methods import METHODS
from vipctl.services.option import Option
from vipctl.services.options import OPTIONS
from vipctl.services.values import AUTO

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_PROBLEMS = 5
T = TypeVar("T", bound=BaseModel)


def _readable(read: Callable[[Any], object]) -> AfterValidator:
    def check(text: Any) -> Any:
        try:
            read(text)
        except VipctlError as e:
            raise ValueError(e.in_a_line) from e
        return text

    return AfterValidator(check)


def _form_of(option: Option) -> Any:
    """The type of an option's field, which validates it."""
    if option.typed is list:
        one = Annotated[str, _readable(option.each)] if option.each else str
        return Annotated[list[one], _readable(option.read)]  # type: ignore[valid-type]
    if option.typed is int:
        low, high = option.bounds
        return Annotated[int, Field(ge=low, le=high)]
    return Annotated[option.typed, _readable(option.read)]


STRICT = ConfigDict(extra="forbid", strict=True)


class Form(BaseModel):
    """A service in a document; what is left out has its default."""

    model_config = STRICT

    method: str = AUTO
    fwmark: int | None = None
    ranges: list[str] = []

    def given(self) -> dict[str, Any]:
        """The options that the document names."""
        return self.model_dump(exclude_unset=True, exclude={"ranges"})


@cache
def _form_for(*, proxied: bool, ipvs: bool) -> type[Form]:
    """The model with the options of services of one kind."""
    found = {name: option for name, option in OPTIONS.items() if ipvs or not option.ipvs}
    for method in METHODS.values():
        found |= method.options if method.proxied is proxied else {}
    fields: dict[str, Any] = {
        name: (_form_of(option), ... if option.needed else None) for name, option in found.items()
    }
    fields |= {"method": (fields["method"][0], AUTO)}
    return create_model("Form", __base__=Form, **fields)


def accepted() -> type[Form]:
    """The model of acceptance-only services."""
    return _form_for(proxied=False, ipvs=False)


def _named(fields: Mapping[str, Any]) -> type[Form]:
    """The model of a named service: for a local proxy if its options are, else for IPVS."""
    proxied = asked.proxied(fields)
    return _form_for(proxied=proxied, ipvs=not proxied)


class Document(BaseModel):
    model_config = STRICT

    director: dict[str, Any] = {}
    services: dict[str, dict[str, Any]]


def director(path: Path, fields: dict[str, Any]) -> Director:
    """The settings that the document names. Raises UsageError."""
    forms: dict[str, Any] = {name: (_form_of(s.option), None) for name, s in SETTINGS.items()}
    kind = create_model("DirectorForm", __config__=STRICT, **forms)
    validate(path, kind, ("director",), fields)
    return from_plain(fields)


def local(path: Path, fields: object) -> dict[str, Any]:
    """The settings of one director of several that a file names. Raises UsageError."""
    from vipctl.announcing import local as this

    forms: dict[str, Any] = {name: (_form_of(o), None) for name, o in this.OPTIONS.items()}
    kind = create_model("LocalForm", __config__=STRICT, **forms)
    named = validate(path, kind, (), fields).model_dump(exclude_unset=True)
    return {name: this.OPTIONS[name].read(value) for name, value in named.items()}


def form(path: Path, name: str, fields: dict[str, Any]) -> Form:
    where = ("services", name)
    if name.startswith(ACCEPTANCE_PREFIX):
        found = validate(path, accepted(), where, fields)
        mark = syntax.acceptance_mark(name)
        if found.fwmark not in (None, mark):
            raise UsageError(
                f"{path}: services.{name}.fwmark: is {mark} by its name",
                hint=f"the service of fwmark N is called {ACCEPTANCE_PREFIX}N",
            )
        return found.model_copy(update={"fwmark": mark})
    syntax.check_name(name)
    return validate(path, _named(fields), where, fields)


def validate(path: Path, kind: type[T], where: tuple[str, ...], value: object) -> T:
    try:
        return kind.model_validate(value)
    except ValidationError as e:
        problems = [
            f"{'.'.join(map(str, (*where, *p['loc']))) or 'services'}: {_said(p)}"
            for p in e.errors()
        ]
        raise wrong(path, problems) from e


def _said(problem: "ErrorDetails") -> str:
    """The message. YAML reads an address that ends in a colon as the key of a mapping."""
    words, found = problem["msg"].removeprefix("Value error, "), problem["input"]
    if problem["type"] != "string_type" or found is None:
        return words
    if isinstance(found, dict) and list(found.values()) == [None]:
        return f'{words}; quote it: "{next(iter(found))}:"'
    return f"{words}; quote it"


def wrong(path: Path, problems: list[str]) -> UsageError:
    more = len(problems) - MAX_PROBLEMS
    tail = f"; and {more} more" if more > 0 else ""
    return UsageError(
        f"{path}: " + "; ".join(problems[:MAX_PROBLEMS]) + tail, hint="vipctl export shows the form"
    )
