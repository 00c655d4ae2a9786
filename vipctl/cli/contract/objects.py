"""The objects of which answers consist, as models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from vipctl.operate.printed import EXACT, FORMAT, LARGEST
from vipctl.services.director import SETTINGS
from vipctl.services.option import Option
from vipctl.services.options import EVERY_OPTION

Role = Literal["active", "passive"]


def field(description: str, *, optional: bool = False) -> Any:
    """Of a model; an optional one is left out where it does not apply."""
    return Field(None if optional else ..., description=description)


class Object(BaseModel):
    """Has its fields and no others, and each number above 2^53 as text too."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        rest = dict(found)
        for key, value in found.items():
            if type(value) is int and value > LARGEST and rest.pop(key + EXACT, "") != str(value):
                raise ValueError(f"{key} is above 2^53, and {key}{EXACT} is not the same as text")
        return rest


class Printed(Object):
    """All that `--json` prints."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = field("The version of this form.")


class Looked(Printed):
    """Of a command that changes nothing."""

    changed: Literal[False] = field("Nothing is.")


class Pending(Looked):
    """Of one that reads the state."""

    pending: bool = field("An earlier command was interrupted; the next changing one repairs it.")


class Told(Object):
    """What went wrong."""

    kind: Literal["unexpected", "usage", "refused", "kernel", "missing"] = field(
        "As the exit code, from 1 to 5."
    )
    message: str = field("What happened, to what.")
    hint: str | None = field("What to do next.")


class Failure(Printed):
    """Instead of a command's own object, if it fails."""

    error: Told = field("Why.")


class Size(Object):
    """How much of the address space."""

    prefixes: int = field("In the shortest list of prefixes.")
    addresses: int = field("Of IPv4 and IPv6 together.")


def _options(options: dict[str, Option]) -> dict[str, Any]:
    """A service has those of its kind and method."""
    kinds: dict[type, Any] = {list: list[str], object: int | str}
    return {
        name: (kinds.get(option.typed, option.typed), field(option.help, optional=True))
        for name, option in options.items()
    }


Service = create_model(
    "Service", __base__=Object, __doc__="Its options, as in files.", **_options(EVERY_OPTION)
)
Director = create_model(
    "Director",
    __base__=Object,
    __doc__="Settings of the whole director, those that are set.",
    **_options({name: setting.option for name, setting in SETTINGS.items()}),
)
