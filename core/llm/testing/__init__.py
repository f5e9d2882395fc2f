"""The test kit, for the tests of host applications, of plugins, and of this library; see docs/testing.md.

`ProviderContract` needs pytest and `OllamaServer` aiohttp: they are imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from core.llm.testing.canary import SecretCanary, SecretLeaked
from core.llm.testing.clock import FakeClock
from core.llm.testing.fault_injector import FaultInjector, Injected
from core.llm.testing.fault_plan import Fault, FaultPlan, Rule
from core.llm.testing.network import NetworkForbidden, forbid_network
from core.llm.testing.provider import (
    SCRIPTED,
    SCRIPTED_HOST,
    ScriptedAnswer,
    ScriptedConfig,
    ScriptedModelHost,
    ScriptedProvider,
)
from core.llm.testing.recorder import EventRecorder
from core.llm.testing.script import Gate, Pause, Script
from core.llm.testing.services import provider_services
from core.llm.testing.sweep import SweepPoint, cancel_sweep

if TYPE_CHECKING:
    from core.llm.testing.anthropic_script import AnthropicAnswer
    from core.llm.testing.anthropic_server import AnthropicServer
    from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
    from core.llm.testing.call_log import CallLog
    from core.llm.testing.contract import ProviderContract
    from core.llm.testing.contract_upstream import ContractUpstream, UpstreamAnswer, UpstreamFailure
    from core.llm.testing.gemini_server import GeminiServer
    from core.llm.testing.llama_router_server import LlamaRouterServer, RouterModelSpec
    from core.llm.testing.lm_studio_server import LMStudioDownload, LMStudioModelSpec, LMStudioServer
    from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIOffer, LocalAIServer
    from core.llm.testing.model_host_case import ModelHostBench
    from core.llm.testing.model_host_contract import ModelHostContract
    from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec
    from core.llm.testing.ollama_server import OllamaServer
    from core.llm.testing.openai_answers import OpenAIAnswer
    from core.llm.testing.openai_server import OpenAIServer
    from core.llm.testing.oracle import Oracle
    from core.llm.testing.wire_server import WireServer

__all__ = [
    "SCRIPTED",
    "SCRIPTED_HOST",
    "AnthropicAnswer",
    "AnthropicServer",
    "BedrockAnswer",
    "BedrockServer",
    "CallLog",
    "ContractUpstream",
    "EventRecorder",
    "FakeClock",
    "Fault",
    "FaultInjector",
    "FaultPlan",
    "Gate",
    "GeminiServer",
    "Injected",
    "LMStudioDownload",
    "LMStudioModelSpec",
    "LMStudioServer",
    "LlamaRouterServer",
    "LocalAIModelSpec",
    "LocalAIOffer",
    "LocalAIServer",
    "ModelHostBench",
    "ModelHostContract",
    "NetworkForbidden",
    "OllamaAnswer",
    "OllamaDownload",
    "OllamaModelSpec",
    "OllamaServer",
    "OpenAIAnswer",
    "OpenAIServer",
    "Oracle",
    "Pause",
    "ProviderContract",
    "RouterModelSpec",
    "Rule",
    "Script",
    "ScriptedAnswer",
    "ScriptedConfig",
    "ScriptedModelHost",
    "ScriptedProvider",
    "SecretCanary",
    "SecretLeaked",
    "SweepPoint",
    "UpstreamAnswer",
    "UpstreamFailure",
    "WireServer",
    "cancel_sweep",
    "forbid_network",
    "provider_services",
]

_LATE = {
    "BedrockAnswer": "core.llm.testing.bedrock_server",
    "BedrockServer": "core.llm.testing.bedrock_server",
    "LlamaRouterServer": "core.llm.testing.llama_router_server",
    "RouterModelSpec": "core.llm.testing.llama_router_server",
    "LMStudioDownload": "core.llm.testing.lm_studio_server",
    "LMStudioModelSpec": "core.llm.testing.lm_studio_server",
    "LMStudioServer": "core.llm.testing.lm_studio_server",
    "LocalAIModelSpec": "core.llm.testing.localai_server",
    "LocalAIOffer": "core.llm.testing.localai_server",
    "LocalAIServer": "core.llm.testing.localai_server",
    "OllamaAnswer": "core.llm.testing.ollama_script",
    "OllamaDownload": "core.llm.testing.ollama_script",
    "OllamaModelSpec": "core.llm.testing.ollama_script",
    "CallLog": "core.llm.testing.call_log",
    "Oracle": "core.llm.testing.oracle",
    "AnthropicAnswer": "core.llm.testing.anthropic_script",
    "AnthropicServer": "core.llm.testing.anthropic_server",
    "ProviderContract": "core.llm.testing.contract",
    "ContractUpstream": "core.llm.testing.contract_upstream",
    "UpstreamAnswer": "core.llm.testing.contract_upstream",
    "UpstreamFailure": "core.llm.testing.contract_upstream",
    "ModelHostBench": "core.llm.testing.model_host_case",
    "ModelHostContract": "core.llm.testing.model_host_contract",
    "GeminiServer": "core.llm.testing.gemini_server",
    "OllamaServer": "core.llm.testing.ollama_server",
    "OpenAIAnswer": "core.llm.testing.openai_answers",
    "OpenAIServer": "core.llm.testing.openai_server",
    "WireServer": "core.llm.testing.wire_server",
}


if not TYPE_CHECKING:  # a type checker that saw this would believe in every name

    def __getattr__(name: str) -> Any:
        module = _LATE.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - only these names cost the import

        return getattr(import_module(module), name)
