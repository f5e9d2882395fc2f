"""Commands that look: `models`, `status`."""

from argparse import Namespace

from modules.cli.application import Application, opened
from modules.cli.live import live_table
from modules.cli.output import Output
from modules.terminal.model_table import ModelTable, model_table
from modules.terminal.provider_table import provider_lines
from modules.terminal.table import columns


async def models(given: Namespace, output: Output) -> bool:
    """`core-llm models`."""
    async with opened(given.config) as app:
        table = await _asked(app)
        if table.aliases:
            output.result("\n".join(columns(("ALIAS", "MODELS"), table.aliases, width=output.width)) + "\n")
        output.result("\n".join(table.lines(width=output.width)))
        return True


async def status(given: Namespace, output: Output) -> bool:
    """`core-llm status [--watch]`."""
    async with opened(given.config) as app:
        if given.watch:
            await live_table(app, output, given.interval)
            return True
        reports = await app.health.check_all()
        lines = provider_lines(app.llm.get_provider_status(), reports, output.width)
        table = await _asked(app, local_only=True)
        output.result("\n".join(lines))
        if table.rows:
            output.result("\n" + "\n".join(table.lines(width=output.width)))
        return True


async def _asked(app: Application, *, local_only: bool = False) -> ModelTable:
    found = await app.models.survey(timeout=app.config.health_check.timeout)
    pinned = app.config.residency.pinned
    return model_table(app.llm, app.models, found, pinned=pinned, sees_workers=False, local_only=local_only)
