"""What can be configured for an Ollama server."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from core.llm.common.units import Duration
from core.llm.providers.base.model_source import PullHosts
from core.llm.providers.base.prompt_format import ConfiguredPromptFormat, PromptFormat
from core.llm.providers.base.provider import PullStrategy
from core.llm.providers.base.server_address import server_address
from core.llm.providers.config.models.frozen import A_LIST
from core.llm.providers.config.models.provider import ModelOptions, ProviderConfig, named_models
from core.llm.providers.local_config import ServerTimeouts
from core.llm.providers.ollama.keep_alive import ConfiguredKeepAlive


class OllamaModelOptions(ModelOptions):
    """One model: its facts, and how it is loaded."""

    options: Mapping[str, Any] = Field(
        default_factory=dict, description="Options of this model, over those of the provider: `num_ctx: 16384`."
    )
    keep_alive: ConfiguredKeepAlive | None = Field(default=None, description="Overrides the provider's `keep_alive`.")
    pull: PullStrategy | None = Field(default=None, description="Overrides the provider's `pull`.")
    prompt_format: ConfiguredPromptFormat | None = Field(
        default=None,
        description="How a conversation is written as one prompt, past the model's own template: a name (chatml, "
        "llama3, mistral, gemma, alpaca, plain) or a format of your own.",
    )


_address = server_address(11434, "Ollama", " (for the OpenAI-compatible one use `type: openai_compatible`)")


class OllamaConfig(ProviderConfig):
    """An Ollama server and how its models are loaded.

    The load options of a model are the same in every call (chat, embeddings, preload): a call with others would make
    the server load the model again.
    """

    base_url: Annotated[str, AfterValidator(_address)] = Field(
        default="http://localhost:11434",
        description="Address of the server; without a scheme and port, http and 11434.",
    )
    models: Annotated[Mapping[str, OllamaModelOptions], BeforeValidator(named_models), A_LIST] = Field(
        default_factory=dict, description="Models by name: a list, or a mapping with facts and options."
    )
    timeouts: ServerTimeouts = ServerTimeouts()
    keep_alive: ConfiguredKeepAlive | None = Field(
        default=None,
        description="How long a model stays in memory after a call: `5m`, `never` (stays for ever) or `immediate` "
        "(goes at once). Unset: the server decides.",
    )
    pull: PullStrategy = Field(
        default="never",
        description="never: a missing model is an error. when_missing: it is pulled when it is first asked for. "
        "always: a newer version is looked for as well, while the installed one serves.",
    )
    auto_pull: bool = Field(default=False, description="The older way to write `pull: when_missing`.")
    models_dir: str | None = Field(
        default=None,
        description="Where a server on this machine keeps its models: a pull that does not fit there is not begun. "
        "Unset: the usual places.",
    )
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="Options of every model, such as `num_ctx: 8192` or `num_gpu: 99`."
    )
    truncate: bool | None = Field(
        default=None,
        description="`false`: a prompt longer than the context is an error; unset: Ollama cuts it silently.",
    )
    shift: bool | None = Field(
        default=None, description="`false`: stop at the end of the context instead of forgetting its beginning."
    )
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(default=10.0, description="How long a model may take to leave memory.")
    pull_from: PullHosts = ("registry.ollama.ai", "ollama.com", "hf.co", "huggingface.co")
    unload_on_stop: bool = Field(
        default=False, description="Unload the models that were loaded explicitly when this provider is closed."
    )

    @model_validator(mode="after")
    def _has_one_strategy(self) -> Self:
        if self.auto_pull and "pull" in self.model_fields_set:
            raise ValueError("auto_pull stands beside pull: keep pull")
        return self

    def options_of(self, model: str) -> Mapping[str, Any]:
        """The options that every call of *model* sends."""
        entry = self._entry(model)
        return self.options if entry is None or not entry.options else {**self.options, **entry.options}

    def pull_of(self, model: str) -> PullStrategy:
        """When *model* is pulled by itself."""
        entry = self._entry(model)
        if entry is not None and entry.pull is not None:
            return entry.pull
        return "when_missing" if self.auto_pull else self.pull

    def configured_pull(self, model: str) -> PullStrategy | None:
        """As `pull_of`, and `None` where the configuration says nothing about it."""
        entry = self._entry(model)
        said = {"pull", "auto_pull"} & self.model_fields_set or (entry is not None and entry.pull is not None)
        return self.pull_of(model) if said else None

    def keep_alive_of(self, model: str) -> ConfiguredKeepAlive | None:
        """How long *model* stays in memory."""
        entry = self._entry(model)
        return self.keep_alive if entry is None or entry.keep_alive is None else entry.keep_alive

    def prompt_format_of(self, model: str) -> PromptFormat | None:
        """The format that replaces the template of *model*; `None`: it has its own."""
        entry = self._entry(model)
        return None if entry is None else entry.prompt_format

    def _entry(self, model: str) -> OllamaModelOptions | None:
        if not self.models:
            return None
        # `name` and `name:latest` are one model and must be loaded in one way.
        other = model.removesuffix(":latest") if model.endswith(":latest") else f"{model}:latest"
        return self.models.get(model) or self.models.get(other)
