"""Response headers as a plain mapping with names in lower case, without copying them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar, overload

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_T = TypeVar("_T")


class HeaderView(Mapping[str, str]):
    """Looks names up in any case, lists them in lower case; a repeated header reads as its values joined by commas."""

    __slots__ = ("_headers",)

    def __init__(self, headers: "CIMultiDictProxy[str]") -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        values = self._headers.getall(name)
        return values[0] if len(values) == 1 else ", ".join(values)

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | _T) -> str | _T: ...
    def get(self, key: str, /, default: object = None) -> object:
        """The value of *key*, or *default* where the header was not sent."""
        values = self._headers.getall(key, None)
        if values is None:
            return default
        return values[0] if len(values) == 1 else ", ".join(values)

    def __contains__(self, name: object) -> bool:
        return name in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._headers))

    def __len__(self) -> int:
        return len({name.lower() for name in self._headers})

    def __repr__(self) -> str:
        return f"HeaderView({', '.join(self)})"
