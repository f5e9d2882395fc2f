"""`python -m modules.chat [PROMPT]`: one answer with a prompt or a pipe, a conversation otherwise."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from loguru import logger

from core.container import Container
from core.llm import ConfigError, LLMService, LoggingOptions, ProviderConfigManager, ProviderModule, setup_logging
from modules.chat.module import ChatModule
from modules.chat.screen import Screen
from modules.chat.session import ChatOptions

_EPILOGUE = """\
Answers go to standard output, everything about them to standard error. Ctrl-C stops cleanly, a second one at once.
Exit codes: 0 answered or left, 1 no model answered, 2 the configuration or the arguments are wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="chat", description="Talk to the models of a core-llm configuration.", epilog=_EPILOGUE
    )
    parser.add_argument("prompt", nargs="*", help="ask this and leave; without it, a conversation")
    parser.add_argument("--config", default="config/llm.yaml", help="configuration file (default: %(default)s)")
    parser.add_argument("--model", help="alias, provider/model or model name")
    parser.add_argument("--system", help="instructions for the model")
    given = parser.parse_args(arguments)
    options = ChatOptions(" ".join(given.prompt) or None, given.model, given.system, given.config)
    try:
        return asyncio.run(run(options))
    except KeyboardInterrupt:
        # Ctrl-C before the container took the signals over: nothing has been started.
        return 0
    except BrokenPipeError:
        # Whoever read the answer has gone, as `head` does; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def run(options: ChatOptions) -> int:
    """Run the container until the conversation is over or a signal arrives."""
    # The screen shows what happens; log lines are for what it does not show.
    setup_logging(LoggingOptions(level="ERROR"))
    logger.disable("core.llm.observability.logs")
    screen = Screen()
    chat = ChatModule(options, screen)
    container = Container([ProviderModule(options.config), chat])
    # The service builds what the configuration says, so it comes first. A mistake is for a person to read, not a crash.
    container.get(LLMService)
    try:
        await container.get(ProviderConfigManager).load()
    except ConfigError as error:
        screen.note(f"the configuration cannot be used:\n{error}")
        return 2
    code = await container.run()
    if chat.result.reader_gone:
        raise BrokenPipeError
    return code or int(chat.result.failed)


if __name__ == "__main__":
    sys.exit(main())
