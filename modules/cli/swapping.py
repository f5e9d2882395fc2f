"""`core-llm swap`: an alias means another model from now on, in the file that applications follow."""

from argparse import Namespace
from pathlib import Path

from core.llm import LLMError, UnknownModel
from modules.cli.alias_edit import Edit, NotEditable, edit_of
from modules.cli.application import Application, opened
from modules.cli.output import Output
from modules.cli.work import shown


class SwapRefused(LLMError):
    """The alias cannot be swapped by this command; says what to do instead."""


async def swap(given: Namespace, output: Output) -> bool:
    """`core-llm swap ALIAS MODEL`. Where the model cannot be loaded, nothing has changed."""
    alias, model = given.alias, given.model
    async with opened(given.config, keeps=not given.no_load) as app:
        ref = _checked(app, alias, model)
        old, edit, place = _edit(app, alias, model)
        if old == model:
            output.result(f"{alias} means {model} already ({place})")
            return True
        if not given.no_load and not _is_worker(app, ref):
            await _load(app, output, ref)
        await _write(app, alias, model, edit)
        output.result(f"{alias}: {old} → {model} ({place})")
        output.note(
            "Applications that follow this file use it from their next call on; calls that run end on the old model."
        )
        if _is_worker(app, ref):
            output.note(
                f"{ref} lives in workers of those applications: it is loaded with the first call there. "
                f"`core-llm load {ref}` says beforehand whether it can be."
            )
        return True


def _checked(app: Application, alias: str, model: str) -> str:
    """The first model that *model* stands for.

    Raises:
        UnknownModel: *alias* is no alias, or *model* is nothing.
        SwapRefused: *model* is off, or it is the alias itself.
    """
    if alias not in app.config.models:
        known = ", ".join(app.config.models) or "none"
        raise UnknownModel(f"{alias!r} is no alias, so it cannot be swapped; aliases are: {known}")
    if model == alias:
        raise SwapRefused(f"{alias} cannot mean itself")
    plan = app.llm.explain("hello", model=model)
    if not plan.candidates:
        raise UnknownModel(f"nothing is called {model!r}: see core-llm models")
    target = plan.candidates[0]
    off = app.manager.disabled.get(target.target.provider)
    if off is not None:
        raise SwapRefused(f"{target.target.provider} is off ({off}): nothing was changed")
    return str(target.target) if target.target.model else model


def _is_worker(app: Application, ref: str) -> bool:
    """Whether every application loads the model for itself."""
    return any(one.owned and one.model == ref for one in app.models.list())


async def _load(app: Application, output: Output, ref: str) -> None:
    """Have the server load the model before anyone is sent to it; a hosted one needs no load."""
    survey = await app.models.survey(timeout=app.config.health_check.timeout)
    provider = ref.partition("/")[0]
    if provider in survey.unreachable:
        raise SwapRefused(
            f"{provider} does not answer ({survey.unreachable[provider]}), so nothing was changed; --no-load changes "
            "the file all the same"
        )
    if any(one.model.partition("/")[0] == provider for one in survey.models):
        try:
            async with shown(app, output, "load", ref) as tell:
                await app.models.load(ref, tell)
        except LLMError as error:
            raise SwapRefused(f"{error}\nThe file was not changed.") from None


def _edit(app: Application, alias: str, model: str) -> tuple[str, Edit, str]:
    """What the alias means now, the edit that changes it, and its place.

    Raises:
        SwapRefused: it is not written as one plain value of a YAML file.
    """
    found = next(
        (
            origin
            for path in (f"models.{alias}", f"models.{alias}.use")
            for origin in app.manager.explain(path)[:1]
            if isinstance(origin.value, str)
        ),
        None,
    )
    written = next(iter(app.manager.explain(f"models.{alias}")), None)
    place = ":".join(str(part) for part in (written.layer, written.line) if part is not None) if written else alias
    by_hand = f"edit it by hand: let models.{alias} name {model}"
    if found is None or found.line is None or found.column is None:
        raise SwapRefused(f"{alias} is not one model in one place of a file ({place}); {by_hand}")
    place = f"{found.layer}:{found.line}:{found.column}"
    path = Path(found.layer)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        raise SwapRefused(f"{alias} is set by {found.layer}, which this command does not edit; {by_hand}")
    try:
        return found.value, edit_of(path, found.line, found.column, found.value, model), place
    except NotEditable as reason:
        raise SwapRefused(f"{place}: {reason}; {by_hand}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SwapRefused(f"{place}: the file cannot be read ({type(error).__name__})") from None


async def _write(app: Application, alias: str, model: str, edit: Edit) -> None:
    """Change the file, and see that its configuration means what it should; else the file is as it was."""
    try:
        edit.apply()
    except NotEditable as reason:
        raise SwapRefused(f"{edit.path}: {reason}") from None
    except OSError as error:
        raise SwapRefused(f"{edit.path} cannot be written: {error.strerror}; nothing was changed") from None
    result = await app.manager.reload()
    use = app.config.models[alias].use
    if result.status == "applied" and [target.model for target in use] == [model]:
        return
    edit.undo()
    if result.errors:
        issues = "\n".join(f"  {issue}" for issue in result.errors)
        raise SwapRefused(f"with {alias} as {model} the configuration cannot be used; the file is as it was:\n{issues}")
    raise SwapRefused(f"{edit.path}: the edit did not change what {alias} means, and was undone; edit it by hand")
