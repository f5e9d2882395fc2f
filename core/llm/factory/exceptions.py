"""What can go wrong while a provider is made."""

from core.llm.common.exceptions import LLMError


class MissingExtra(LLMError):
    """The provider needs an optional dependency that is not installed."""

    def __init__(self, kind: str, extra: str, module: str) -> None:
        super().__init__(f"the {kind} provider needs {module}: install it with `pip install 'core-llm[{extra}]'`")
        self.extra = extra


class BrokenPlugin(LLMError):
    """A third-party provider type that cannot be used; everything else can."""
