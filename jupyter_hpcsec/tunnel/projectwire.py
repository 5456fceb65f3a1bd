"""The admin API's calls about projects, as they stand on the wire. The rules of projects check what the texts say."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from jupyter_hpcsec.tunnel.wiretypes import Arguments, Call, GivenName, Name, as_is

_Names = Annotated[list[GivenName], Meta(max_length=1024)]
_Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Sentence = Annotated[str, Meta(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Purpose = Annotated[str, Meta(max_length=4000, pattern=r"^[^\x00]*\Z")]
_Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
_DayOrNone = Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?\Z")]


class _Projects(Arguments, frozen=True, kw_only=True):
    user: Name
    groups: _Names


class _Show(Arguments, frozen=True, kw_only=True):
    project: _Id


class _Acted(Arguments, frozen=True, kw_only=True):
    project: _Id
    on_behalf: Name
    as_office: bool


class _Propose(_Acted, frozen=True, kw_only=True):
    title: Name
    purpose: _Purpose
    owner: Name
    users: _Names
    groups: _Names
    paths: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=128)]
    account: Name


class _Approve(_Acted, frozen=True, kw_only=True):
    review_on: _Day
    revision: Annotated[int, Meta(ge=0, le=2**53)] = 0


class _Renew(_Acted, frozen=True, kw_only=True):
    review_on: _DayOrNone
    reason: _Sentence


class _Members(_Acted, frozen=True, kw_only=True):
    add_users: _Names
    remove_users: _Names
    add_groups: _Names
    remove_groups: _Names


class _Close(_Acted, frozen=True, kw_only=True):
    reason: _Sentence


CALLS: Mapping[str, Call] = {
    "projects": Call(_Projects, as_is),
    "project_show": Call(_Show, as_is),
    "project_propose": Call(_Propose, as_is),
    "project_approve": Call(_Approve, as_is),
    "project_renew": Call(_Renew, as_is),
    "project_members": Call(_Members, as_is),
    "project_close": Call(_Close, as_is),
}
