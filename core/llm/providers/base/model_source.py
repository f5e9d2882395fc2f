"""What a model on a server may be called, and where a server may be told to download one from. Pure."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import one_line

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+~-]{0,299}")
_ADDRESS: Final = re.compile(r"(?:(https?)://|(github|huggingface|hf)(?::|://))(?=[A-Za-z0-9])")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?::\d{1,5})?")
_SHORT: Final = {"github": "github.com", "huggingface": "huggingface.co", "hf": "huggingface.co"}


def check_model_name(model: str) -> None:
    """Refuse what no server calls a model: paths that climb, control characters, queries, schemes.

    Raises:
        ProviderError: `invalid_request`, code `model_name`.
    """
    rest = model[found.end() :] if (found := _ADDRESS.match(model)) else model
    steps = re.split(r"[/:@]", rest)
    if not _NAME.fullmatch(rest) or "//" in rest or any(step in {".", ".."} for step in steps):
        raise ProviderError(
            "invalid_request",
            f"{one_line(model, 100)!r} is no name of a model: letters, digits and . _ : / @ + ~ - only, and no `..`",
            code="model_name",
        )


def source_of(model: str) -> str | None:
    """The host that *model*, a name which is fine, is downloaded from; `None`: where its server goes by itself."""
    if found := _ADDRESS.match(model):
        return _SHORT[found[2]] if found[2] else urlsplit(model).netloc.lower()
    first, slash, _ = model.partition("/")
    is_host = slash and ("." in first or ":" in first or first.lower() == "localhost")
    return first.lower() if is_host else None


def check_source(model: str, allowed: tuple[str, ...]) -> None:
    """Refuse a download of *model* from a host that is not *allowed*.

    Raises:
        ProviderError: `invalid_request`, code `model_name` or `pull_source`.
    """
    check_model_name(model)
    host = source_of(model)
    if host is not None and host not in allowed:
        listed = ", ".join(allowed) or "no host"
        raise ProviderError(
            "invalid_request",
            f"{model!r} would be downloaded from {host}, and `pull_from` allows {listed}: add the host if you trust it",
            code="pull_source",
        )


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in value)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"{host[:100]!r} is no host: write its name alone, such as hf.co or registry.example.com:5000"
            )
    return hosts


PullHosts = Annotated[
    tuple[str, ...],
    AfterValidator(_hosts),
    Field(
        description="Hosts that models may be downloaded from where a name has one, such as hf.co/owner/model. A name "
        "without a host goes where the server goes by itself, and is always allowed."
    ),
]
"""The configured list."""
