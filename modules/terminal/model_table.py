"""Models as a table: where each is in its life, what it takes, who uses it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.llm import AvailableModel, LLMService, ModelFacts, ModelManager, ModelSurvey, Residence, SurveyedModel
from modules.terminal.figures import price, size, span, tokens
from modules.terminal.table import columns, wrapped

TITLES = ("MODEL", "STATE", "MEMORY", "DEVICE", "CALLS", "IDLE", "PINNED", "CONTEXT", "PRICE/M")
LIVE = ("MODEL", "STATE", "MEMORY", "DEVICE", "CALLS", "IDLE", "PINNED")
_RIGHT = ("MEMORY", "CALLS", "IDLE", "CONTEXT")
_WORDS = {"ready": "loaded", "in_use": "in use"}
WORKER = "worker: each application loads such a model for itself, in a process of its own; those of others are not seen"


@dataclass(frozen=True, slots=True)
class ModelTable:
    """What is shown of all models."""

    aliases: tuple[tuple[str, str], ...]
    """Each with the models behind it."""
    rows: tuple[Mapping[str, str], ...]
    """By title; what is empty is missing or not known."""
    notes: tuple[str, ...] = ()
    """What the table leaves open, one line each."""

    def lines(self, titles: Iterable[str] = TITLES, width: int | None = None) -> list[str]:
        """The models, then the notes."""
        chosen = tuple(titles)
        rows = [[row.get(title, "") for title in chosen] for row in self.rows]
        shown = columns(chosen, rows, width=width, right=_RIGHT) if rows else ["no model is configured"]
        return shown + [line for note in self.notes for line in wrapped(note, width)]


@dataclass(slots=True)
class _Notes:
    """Reasons, each said once for all the models that it is about."""

    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.reasons[reason] = None


def model_table(
    llm: LLMService,
    models: ModelManager,
    survey: ModelSurvey,
    *,
    pinned: Iterable[str] = (),
    sees_workers: bool = True,
    local_only: bool = False,
) -> ModelTable:
    """The models of the configuration and those that servers have beside them, as *survey* has found them.

    Args:
        llm: knows what is configured.
        models: knows what this process has in memory, and who uses it.
        survey: what the providers of local models have said.
        pinned: names that are to be kept in memory, aliases as well.
        sees_workers: whether this process is the one whose workers are meant.
        local_only: leave out what is hosted.
    """
    available = llm.get_available_models()
    residences = {one.model: one for one in models.list()}
    surveyed = {one.model: one for one in survey.models}
    aliases = [one for one in available if one.kind == "alias"]
    first = {one.name: one.targets[0] for one in aliases if one.targets}
    kept = {first.get(name, name) for name in pinned}
    notes = _Notes()
    rows: list[Mapping[str, str]] = []
    for model in available:
        if model.kind == "model":
            found = surveyed.pop(model.name, None)
            lost = survey.unreachable.get(model.name.partition("/")[0])
            if local_only and found is None and lost is None:
                continue
            state = _state_of(model, found, residences.get(model.name), lost, notes, sees_workers=sees_workers)
            rows.append(_row(model.name, state, model.facts, found, residences.get(model.name), kept))
    for provider, reason in survey.unreachable.items():
        notes.add(f"{provider} does not answer: {reason}")
    for name, found in surveyed.items():
        state = _life(found, residences.get(name), notes, sees_workers=sees_workers)
        rows.append(_row(name, state, found.facts, found, residences.get(name), kept))
    shown = tuple((one.name, " → ".join(one.targets) or one.reason) for one in aliases)
    return ModelTable(shown, tuple(rows), tuple(notes.reasons))


def _state_of(
    model: AvailableModel,
    found: SurveyedModel | None,
    residence: Residence | None,
    lost: str | None,
    notes: _Notes,
    *,
    sees_workers: bool,
) -> str:
    if not model.available:
        notes.add(f"{model.name.partition('/')[0]} is off: {model.reason}")
        return "off"
    if lost is not None:
        return "unreachable"
    if found is None:
        return "hosted"
    return _life(found, residence, notes, sees_workers=sees_workers)


def _life(found: SurveyedModel, residence: Residence | None, notes: _Notes, *, sees_workers: bool) -> str:
    """Where a model is that can be loaded and unloaded."""
    if residence is not None and residence.detail and residence.state == "failed":
        notes.add(f"{found.model}: {residence.detail}")
    state = residence.state if residence is not None else "unloaded"
    if state == "loading" and residence is not None and residence.progress is not None:
        done, total = residence.progress.completed, residence.progress.total
        return f"loading {done / total:.0%}" if total and done is not None else "loading"
    if state in {"unloaded", "ready"} and not found.owned:
        state = "ready" if found.loaded else "unloaded"
        if not found.installed:
            notes.add(f"{found.model} is not on its server: core-llm pull {found.model}")
            return "missing"
    if state == "unloaded" and found.owned and not sees_workers:
        notes.add(WORKER)
        return "worker"
    return _WORDS.get(state, state)


def _row(
    name: str,
    state: str,
    facts: ModelFacts,
    found: SurveyedModel | None,
    residence: Residence | None,
    kept: set[str],
) -> Mapping[str, str]:
    row = {"MODEL": name, "STATE": state}
    there = state in {"loaded", "in use", "draining", "unloading"}
    memory = residence.memory_bytes if residence is not None else None
    memory = found.memory_bytes if found is not None and found.memory_bytes is not None else memory
    if there and memory:
        row["MEMORY"] = size(memory)
    if residence is not None:
        row["DEVICE"] = residence.device
        if there:
            row["CALLS"] = str(residence.leases) + (f" +{residence.waiting}" if residence.waiting else "")
        if residence.idle_seconds is not None and there:
            row["IDLE"] = span(residence.idle_seconds)
    if name in kept or (residence is not None and residence.pinned):
        row["PINNED"] = "yes"
    if facts.context_window is not None:
        row["CONTEXT"] = tokens(facts.context_window)
    if facts.price is not None:
        row["PRICE/M"] = price(facts.price)
    return row
