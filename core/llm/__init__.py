"""The LLM layer of an application: one module for the container, one service for every model.

A name is imported when it is first used: a host pays for what it names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.llm.accounting.budgets import BudgetStatus
    from core.llm.accounting.ledger import UsageLedger
    from core.llm.chat_model import ChatModel, Named
    from core.llm.client import ClientResponse, LLMClient, ResponseType
    from core.llm.common.clock import Clock, SystemClock
    from core.llm.common.decisions import (
        BudgetAlert,
        CacheHit,
        CallHedged,
        CallJoined,
        CallQueued,
        CallRefused,
        CallSpilled,
        GuardrailBlocked,
        HedgeEnded,
        OutcomeReported,
        RefusalRoutedAround,
        ShadowEnded,
        StreamRecovered,
    )
    from core.llm.common.events import (
        AttemptFailed,
        CallFailed,
        CallFinished,
        CallRecovered,
        ConfigApplied,
        ConfigRejected,
        Event,
        EventBus,
        ModelEvent,
        ProviderDisabled,
        ProviderStateChanged,
        RequestAdjusted,
        RuntimeRetired,
        Subscription,
        WatcherDegraded,
    )
    from core.llm.common.exceptions import (
        AllAttemptsFailed,
        BudgetExceeded,
        ConfigError,
        ConfigIssue,
        LLMError,
        ModelError,
        ModelLoadError,
        ModelNotReady,
        ModelQueueFull,
        ModelTooLarge,
        NoCapacity,
        NotCached,
        ProviderError,
        RateLimited,
        RequestError,
        ServiceStopping,
        StructuredOutputError,
        UnknownModel,
        UnknownProvider,
        UnsupportedFeature,
        WorkerCrashed,
        WrongEventLoop,
    )
    from core.llm.common.guardrail import Allow, Block, GuardedRequest, Guardrail, Replace
    from core.llm.common.messages import (
        AudioPart,
        DocumentPart,
        ImagePart,
        Message,
        Part,
        TextPart,
        ThinkingPart,
        ToolCall,
        ToolResultPart,
    )
    from core.llm.common.trace import AttemptTrace, CallTrace, CandidateTrace
    from core.llm.common.types import CallWarning, Cost, FinishReason, ModelFacts, ModelRef, PartialOutput, Price, Usage
    from core.llm.factory.exceptions import MissingExtra
    from core.llm.factory.provider import LLMProviderFactory
    from core.llm.limiting.upstream import LimitsStatus, LimitStatus
    from core.llm.model_manager import ModelManager
    from core.llm.model_survey import ModelSurvey, SurveyedModel
    from core.llm.module import ProviderModule
    from core.llm.object_stream import ObjectStream
    from core.llm.observability.audit import verify_audit_log
    from core.llm.observability.audit_chain import AuditCheck
    from core.llm.observability.logs import setup_logging
    from core.llm.pipeline.pii_masking import PiiMasking
    from core.llm.providers.base.provider import (
        BaseLLMProvider,
        HealthReport,
        ModelInfo,
        ModelStatus,
        Progress,
        ProviderServices,
    )
    from core.llm.providers.base.request import (
        ChatRequest,
        EmbeddingRequest,
        LLMRequest,
        NamedTool,
        RequestOptions,
        ResponseFormat,
        ToolDefinition,
    )
    from core.llm.providers.base.response import (
        EmbeddingResponse,
        LLMResponse,
        RefusalDelta,
        ResponseCollector,
        StreamEvent,
        StreamFinish,
        StreamReset,
        StreamStart,
        TextDelta,
        ThinkingDelta,
        ToolCallDelta,
        ToolCallReady,
        UsageReport,
    )
    from core.llm.providers.base.spec import ProviderSpec
    from core.llm.providers.config.manager import ProviderConfigManager
    from core.llm.providers.config.models.provider import ProviderConfig
    from core.llm.providers.config.models.service import LLMServiceConfig, LoggingOptions
    from core.llm.providers.ollama.client import OllamaClient
    from core.llm.residency.residence import Residence
    from core.llm.routing.snapshot import Candidate, RequestView
    from core.llm.routing.strategies.contract import Classifier, Strategy
    from core.llm.runtime.health import HealthMonitor, ServiceHealth
    from core.llm.runtime.streams import ActiveStream
    from core.llm.service import LLMService, Prompt
    from core.llm.state.rows import AttemptRow, UsageTotal
    from core.llm.status import ArmReport, AvailableModel, ExperimentReport, Explanation, ProviderStatus, TokenCount
    from core.llm.stream import LLMStream

_HOMES = {
    "accounting.budgets": "BudgetStatus",
    "accounting.ledger": "UsageLedger",
    "chat_model": "ChatModel Named",
    "client": "ClientResponse LLMClient ResponseType",
    "common.clock": "Clock SystemClock",
    "common.decisions": (
        "BudgetAlert CacheHit CallHedged CallJoined CallQueued CallRefused CallSpilled GuardrailBlocked "
        "HedgeEnded OutcomeReported RefusalRoutedAround ShadowEnded StreamRecovered"
    ),
    "common.events": (
        "AttemptFailed CallFailed CallFinished CallRecovered ConfigApplied ConfigRejected Event EventBus "
        "ModelEvent ProviderDisabled ProviderStateChanged RequestAdjusted RuntimeRetired Subscription "
        "WatcherDegraded"
    ),
    "common.exceptions": (
        "AllAttemptsFailed BudgetExceeded ConfigError ConfigIssue LLMError ModelError ModelLoadError "
        "ModelNotReady ModelQueueFull ModelTooLarge NoCapacity NotCached ProviderError RateLimited "
        "RequestError ServiceStopping StructuredOutputError UnknownModel UnknownProvider UnsupportedFeature "
        "WorkerCrashed WrongEventLoop"
    ),
    "common.guardrail": "Allow Block GuardedRequest Guardrail Replace",
    "common.messages": "AudioPart DocumentPart ImagePart Message Part TextPart ThinkingPart ToolCall ToolResultPart",
    "common.trace": "AttemptTrace CallTrace CandidateTrace",
    "common.types": "CallWarning Cost FinishReason ModelFacts ModelRef PartialOutput Price Usage",
    "factory.exceptions": "MissingExtra",
    "factory.provider": "LLMProviderFactory",
    "limiting.upstream": "LimitStatus LimitsStatus",
    "model_manager": "ModelManager",
    "model_survey": "ModelSurvey SurveyedModel",
    "module": "ProviderModule",
    "object_stream": "ObjectStream",
    "observability.audit": "verify_audit_log",
    "observability.audit_chain": "AuditCheck",
    "observability.logs": "setup_logging",
    "pipeline.pii_masking": "PiiMasking",
    "providers.base.provider": "BaseLLMProvider HealthReport ModelInfo ModelStatus Progress ProviderServices",
    "providers.base.request": (
        "ChatRequest EmbeddingRequest LLMRequest NamedTool RequestOptions ResponseFormat ToolDefinition"
    ),
    "providers.base.response": (
        "EmbeddingResponse LLMResponse RefusalDelta ResponseCollector StreamEvent StreamFinish "
        "StreamReset StreamStart TextDelta ThinkingDelta ToolCallDelta ToolCallReady UsageReport"
    ),
    "providers.base.spec": "ProviderSpec",
    "providers.config.manager": "ProviderConfigManager",
    "providers.config.models.provider": "ProviderConfig",
    "providers.config.models.service": "LLMServiceConfig LoggingOptions",
    "providers.ollama.client": "OllamaClient",
    "residency.residence": "Residence",
    "routing.snapshot": "Candidate RequestView",
    "routing.strategies.contract": "Classifier Strategy",
    "runtime.health": "HealthMonitor ServiceHealth",
    "runtime.streams": "ActiveStream",
    "service": "LLMService Prompt",
    "state.rows": "AttemptRow UsageTotal",
    "status": "ArmReport AvailableModel ExperimentReport Explanation ProviderStatus TokenCount",
    "stream": "LLMStream",
}
"""Where the public names are: the imports above once more, for the interpreter."""

_MODULES = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker that saw this would believe in every name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Kept, so that this is not asked again.
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "ActiveStream",
    "AllAttemptsFailed",
    "Allow",
    "ArmReport",
    "AttemptFailed",
    "AttemptRow",
    "AttemptTrace",
    "AudioPart",
    "AuditCheck",
    "AvailableModel",
    "BaseLLMProvider",
    "Block",
    "BudgetAlert",
    "BudgetExceeded",
    "BudgetStatus",
    "CacheHit",
    "CallFailed",
    "CallFinished",
    "CallHedged",
    "CallJoined",
    "CallQueued",
    "CallRecovered",
    "CallRefused",
    "CallSpilled",
    "CallTrace",
    "CallWarning",
    "Candidate",
    "CandidateTrace",
    "ChatModel",
    "ChatRequest",
    "Classifier",
    "ClientResponse",
    "Clock",
    "ConfigApplied",
    "ConfigError",
    "ConfigIssue",
    "ConfigRejected",
    "Cost",
    "DocumentPart",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "Event",
    "EventBus",
    "ExperimentReport",
    "Explanation",
    "FinishReason",
    "GuardedRequest",
    "Guardrail",
    "GuardrailBlocked",
    "HealthMonitor",
    "HealthReport",
    "HedgeEnded",
    "ImagePart",
    "LLMClient",
    "LLMError",
    "LLMProviderFactory",
    "LLMRequest",
    "LLMResponse",
    "LLMService",
    "LLMServiceConfig",
    "LLMStream",
    "LimitStatus",
    "LimitsStatus",
    "LoggingOptions",
    "Message",
    "MissingExtra",
    "ModelError",
    "ModelEvent",
    "ModelFacts",
    "ModelInfo",
    "ModelLoadError",
    "ModelManager",
    "ModelNotReady",
    "ModelQueueFull",
    "ModelRef",
    "ModelStatus",
    "ModelSurvey",
    "ModelTooLarge",
    "Named",
    "NamedTool",
    "NoCapacity",
    "NotCached",
    "ObjectStream",
    "OllamaClient",
    "OutcomeReported",
    "Part",
    "PartialOutput",
    "PiiMasking",
    "Price",
    "Progress",
    "Prompt",
    "ProviderConfig",
    "ProviderConfigManager",
    "ProviderDisabled",
    "ProviderError",
    "ProviderModule",
    "ProviderServices",
    "ProviderSpec",
    "ProviderStateChanged",
    "ProviderStatus",
    "RateLimited",
    "RefusalDelta",
    "RefusalRoutedAround",
    "Replace",
    "RequestAdjusted",
    "RequestError",
    "RequestOptions",
    "RequestView",
    "Residence",
    "ResponseCollector",
    "ResponseFormat",
    "ResponseType",
    "RuntimeRetired",
    "ServiceHealth",
    "ServiceStopping",
    "ShadowEnded",
    "Strategy",
    "StreamEvent",
    "StreamFinish",
    "StreamRecovered",
    "StreamReset",
    "StreamStart",
    "StructuredOutputError",
    "Subscription",
    "SurveyedModel",
    "SystemClock",
    "TextDelta",
    "TextPart",
    "ThinkingDelta",
    "ThinkingPart",
    "TokenCount",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallReady",
    "ToolDefinition",
    "ToolResultPart",
    "UnknownModel",
    "UnknownProvider",
    "UnsupportedFeature",
    "Usage",
    "UsageLedger",
    "UsageReport",
    "UsageTotal",
    "WatcherDegraded",
    "WorkerCrashed",
    "WrongEventLoop",
    "setup_logging",
    "verify_audit_log",
]
