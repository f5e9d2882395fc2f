"""The list of foundation models, from the control plane of Bedrock."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from core.llm.common.types import Capability, ModelFacts
from core.llm.dialects.json import schema_error
from core.llm.dialects.json_body import json_answer

MODELS_PATH: Final = "/foundation-models"


def models_from_bedrock(headers: Mapping[str, str], body: bytes) -> list[tuple[str, ModelFacts, str]]:
    """Name, facts and description of each model in *body*.

    Raises:
        ProviderError: it is no model list.
    """
    summaries = json_answer(body, headers).get("modelSummaries")
    if not isinstance(summaries, list):
        raise schema_error("it has no list of models")
    return [
        (entry["modelId"], _facts(entry), _detail(entry))
        for entry in summaries
        if isinstance(entry, Mapping) and isinstance(entry.get("modelId"), str)
    ]


def merged(packaged: ModelFacts, listed: ModelFacts) -> ModelFacts:
    """What the package knows, completed by what the service lists: that says nothing about tools or schemas."""
    if packaged.capabilities:
        return replace(packaged, max_output_tokens=packaged.max_output_tokens or listed.max_output_tokens)
    embeds = "embeddings" in listed.capabilities
    return replace(
        packaged,
        max_output_tokens=packaged.max_output_tokens or listed.max_output_tokens,
        capabilities=listed.capabilities if embeds else frozenset(),
    )


def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    modalities = entry.get("outputModalities")
    capabilities: set[Capability] = set()
    if isinstance(modalities, list) and "EMBEDDING" in modalities:
        capabilities.add("embeddings")
    elif isinstance(modalities, list) and "TEXT" in modalities:
        capabilities.add("chat")
    converse = entry.get("converse")
    most = converse.get("maxTokensMaximum") if isinstance(converse, Mapping) else None
    limit = most if type(most) is int and 0 < most < 10**9 else None
    return ModelFacts(max_output_tokens=limit, capabilities=frozenset(capabilities))


def _detail(entry: Mapping[str, Any]) -> str:
    words = [entry.get("providerName"), entry.get("modelName")]
    text = " ".join(word for word in words if isinstance(word, str))
    lifecycle = entry.get("modelLifecycle")
    status = lifecycle.get("status") if isinstance(lifecycle, Mapping) else None
    inference = entry.get("inferenceTypesSupported")
    if status == "LEGACY":
        text += ", legacy"
    if inference == ["INFERENCE_PROFILE"]:
        text += ", only through an inference profile"
    return text
