"""Names on Bedrock: models and their paths, and stand-ins for tool names and ids that its rules do not allow."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from core.llm.dialects.stand_in import digest

_GEOGRAPHY: Final = re.compile(r"^(us-gov|us|eu|apac|apj|jp|au|ca|sa|mea|global)\.(?=[a-z0-9-]+\.)")
_ARN_WITH_MODEL: Final = re.compile(r"^arn:[^:]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)$")
_ALLOWED: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_ALLOWED: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST: Final = 64


def base_model(model: str) -> str:
    """The foundation model behind *model*, where its name tells: without ARN and without the profile's geography."""
    found = _ARN_WITH_MODEL.match(model)
    return _GEOGRAPHY.sub("", found[1] if found else model)


def model_path(model: str, operation: str) -> str:
    """The path of *operation* on *model*; whatever the name holds, it stays one segment."""
    segment = quote(model, safe="")
    # Dots alone would be resolved as a relative path.
    return f"/model/{segment.replace('.', '%2E') if not segment.strip('.') else segment}/{operation}"


def wire_tool_name(name: str) -> str:
    """*name* where Bedrock allows it, else a readable stand-in that is always the same."""
    if _ALLOWED.fullmatch(name):
        return name
    readable = _NOT_ALLOWED.sub("_", name)[: _LONGEST - 9]
    return f"{readable}_{digest(name, 8)}"


def tool_names_back(names: Iterable[str]) -> Mapping[str, str]:
    """From stand-ins to the names that the caller knows; empty where every name is allowed as it is."""
    return {wire: name for name in names if (wire := wire_tool_name(name)) != name}


def wire_tool_id(identifier: str) -> str:
    """*identifier* where Bedrock allows it, else a stand-in that is always the same: ids may be another provider's."""
    return identifier if _ALLOWED.fullmatch(identifier) else f"tooluse_{digest(identifier)}"
