"""What the admin API's calls are described with: kinds of text and numbers, and what a call is. Values only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

Name = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
GivenName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Sentence = Annotated[str, Meta(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Text = Annotated[str, Meta(max_length=32768, pattern=r"^[^\x00]*\Z")]
Variable = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00=]+\Z")]
UrlPath = Annotated[str, Meta(max_length=2048, pattern=r"^/[^\x00-\x20\x7f]*\Z")]
SessionId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Uid = Annotated[int, Meta(ge=0, le=2**32 - 2)]
Directory = Annotated[str, Meta(max_length=4096, pattern=r"^/[^\x00-\x1f\x7f]*\Z")]


class Arguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base: fields that are not named are refused."""


@dataclass(frozen=True)
class Call:
    """One call: the type of its arguments, and how its result becomes JSON."""

    arguments: type[Arguments]
    encode: Callable[[Any], Any]


def as_is(result: Any) -> Any:
    """A result that is JSON already."""
    return result
