"""Which cells the failover table has, and how fast they run."""

from core.llm.testing.fault_dialects import ANTHROPIC, GEMINI, OLLAMA, OPENAI, WireDialect
from scripts.failover_bench.situations import SITUATIONS, Situation, Times

DIALECTS: tuple[WireDialect, ...] = (OPENAI, ANTHROPIC, GEMINI, OLLAMA)

TIMES = Times(
    timeout=1.5, first_token=0.5, retry_after=0.1, late=1.0, outage=3.0, back=5.0, prompt=3.0
)  # a twentieth of the real ones; what only bounds a time is left generous, for a machine that is busy

RETRY = {"initial_delay": "25ms", "max_delay": "1s"}

NOT_WITHOUT_STREAMING = {one.id: one.whole for one in SITUATIONS if one.whole is not None}
"""Situations that there are for streams only, each with the reason."""


def cells() -> list[tuple[Situation, WireDialect, bool]]:
    """Every cell that has a meaning."""
    return [
        (situation, dialect, stream)
        for situation in SITUATIONS
        for dialect in DIALECTS
        for stream in (True, False)
        if stream or situation.whole is None
    ]


def name_of(cell: tuple[Situation, WireDialect, bool]) -> str:
    """Such as `S08-anthropic-stream`."""
    situation, dialect, stream = cell
    return f"{situation.id}-{dialect.name}-{'stream' if stream else 'whole'}"
