"""`python -m modules.chat [PROMPT]`: one answer with a prompt or a pipe, a conversation otherwise."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from core.container import Container
from core.llm import ConfigError, LoggingOptions, ProviderModule, setup_logging
from modules.chat.module import ChatModule
from modules.chat.screen import Screen
from modules.chat.session import ChatOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application and return its exit code."""
    parser = argparse.ArgumentParser(prog="chat", description="Talk to the models of a core-llm configuration.")
    parser.add_argument("prompt", nargs="*", help="ask this and leave; without it, a conversation")
    parser.add_argument("--config", default="config/llm.yaml", help="configuration file (default: %(default)s)")
    parser.add_argument("--model", help="alias, provider/model or model name")
    parser.add_argument("--system", help="instructions for the model")
    given = parser.parse_args(arguments)
    options = ChatOptions(" ".join(given.prompt) or None, given.model, given.system)
    return asyncio.run(run(given.config, options))


async def run(config: str, options: ChatOptions) -> int:
    """Run the container until the conversation is over or a signal arrives."""
    # The screen shows what happens; log lines are for what it does not show.
    setup_logging(LoggingOptions(level="ERROR"))
    screen = Screen()
    chat = ChatModule(options, screen)
    container = Container([ProviderModule(config), chat])
    try:
        code = await container.run()
    except ConfigError as error:
        screen.note(str(error))
        return 2
    return code or int(chat.result.failed)


if __name__ == "__main__":
    sys.exit(main())
