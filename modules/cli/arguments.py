"""What can be written on the command line."""

import argparse
import math

EXIT_CODES = """\
exit codes: 0 done, 1 failed, 2 the arguments or the configuration are wrong, 130 interrupted.
Results go to standard output, progress and everything else to standard error."""

_CONFIG = "config/llm.yaml"


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser(
        prog="core-llm",
        description="Look at the models of a core-llm configuration, and load, unload, pull and swap them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--config", default=_CONFIG, metavar="PATH", help="configuration file (default: %(default)s)")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # The same option after the command; where it is missing there, the one before it holds.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", default=argparse.SUPPRESS, metavar="PATH", help=argparse.SUPPRESS)

    def command(name: str, summary: str, about: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name, parents=[shared], help=summary, description=about or f"{summary[:1].upper()}{summary[1:]}."
        )

    command("models", "every alias and model: available or why not, in memory or not, context, price")
    load = command(
        "load",
        "load a local model into memory",
        "Load a local model. On a server (Ollama, LM Studio, LocalAI) it stays there. A model of a worker process "
        "lives as long as the process that loaded it: this checks that it can be loaded, and unloads it again.",
    )
    load.add_argument("name", metavar="NAME", help="alias, provider/model or model name")
    load.add_argument("--stay", action="store_true", help="keep it loaded and show a live table until Ctrl-C")
    unload = command("unload", "take a model out of the memory of its server")
    unload.add_argument("name", metavar="NAME", help="alias, provider/model or model name")
    pull = command(
        "pull", "download a model to its server", "Download a model to its server. Stopped, it goes on when run again."
    )
    pull.add_argument("name", metavar="NAME", help="provider/model, or an alias")
    swap = command(
        "swap",
        "let an alias mean another model, in the configuration file",
        "Let an alias mean another model: loads it where a server has it, then changes this one value in the file. "
        "Applications that follow the file use it from their next call on; calls that run end on the old model.",
    )
    swap.add_argument("alias", metavar="ALIAS", help="a name under `models` of the configuration")
    swap.add_argument("model", metavar="MODEL", help="provider/model, or another alias")
    swap.add_argument("--no-load", action="store_true", help="change the file without loading the model first")
    status = command("status", "how each provider is, and what is in memory")
    status.add_argument("--watch", action="store_true", help="go on showing it until Ctrl-C")
    status.add_argument(
        "--interval", type=_seconds, default=2.0, metavar="SECONDS", help="between two looks (default: %(default)s)"
    )
    explain = command("explain", "where a request would go now, and why; nothing is sent")
    explain.add_argument("prompt", nargs="*", metavar="PROMPT", help="the request (default: hello)")
    explain.add_argument("--model", metavar="NAME", help="alias, provider/model or model name")
    explain.add_argument("--stream", action="store_true", help="as a stream")
    command("check", "whether the configuration can be used; every mistake with file, line and column")
    command("schema", "the JSON schema of the configuration file, for editors")
    return root


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0.1:
        raise argparse.ArgumentTypeError("at least 0.1 seconds")
    return value
