"""Rules of the house that a general linter does not know. Each yields the lines that break it, and what to do."""

import ast
from collections.abc import Callable, Iterator

Broken = Iterator[tuple[int, str]]
Rule = Callable[[ast.Module, str], Broken]

_LOG_METHODS = frozenset({"trace", "debug", "info", "success", "warning", "error", "exception", "critical", "log"})
_LOGGERS = frozenset({"log", "_log", "logger", "_logger", "LOG", "LOGGER"})
_UNSAFE_MODULES = frozenset({"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"})
_FALSE_IS_UNSAFE = frozenset({"ssl", "verify", "verify_ssl", "check_hostname"})
# The end of a rollback or stop is waited for however often the caller is cancelled.
_ENDS_CANCELLATION = frozenset({("core.lifecycle", "_wait_through")})
_TRUE_IS_UNSAFE = frozenset({"allow_redirects", "trust_remote_code", "diagnose", "trust_env"})


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """Every call with the name of its receiver (empty where there is none) and of the function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                receiver = function.value
                name = receiver.id if isinstance(receiver, ast.Name) else getattr(receiver, "attr", "?")
                yield node, name, function.attr
            elif isinstance(function, ast.Name):
                yield node, "", function.id


def unsafe_arguments(tree: ast.Module, module: str) -> Broken:
    """Certificates are checked, redirects are not followed, foreign code is not run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            unsafe = {True: _TRUE_IS_UNSAFE, False: _FALSE_IS_UNSAFE}.get(node.value.value, frozenset())
            if isinstance(node.value.value, bool) and node.arg in unsafe:
                yield node.value.lineno, f"{node.arg}={node.value.value} is never right here"


def unsafe_formats(tree: ast.Module, module: str) -> Broken:
    """What comes from outside is parsed, never executed."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] in _UNSAFE_MODULES:
                yield node.lineno, f"{name} runs what it reads: use JSON"
    for call, receiver, name in _calls(tree):
        if receiver == "yaml" and name in {"load", "load_all", "full_load", "unsafe_load"}:
            yield call.lineno, f"yaml.{name} builds objects: use the loader of core.llm.providers.config"
        if receiver == "" and name in {"eval", "exec", "__import__"}:
            yield call.lineno, f"{name}() runs text"
        if (receiver, name) in {("ast", "literal_eval"), ("os", "system"), ("os", "popen")}:
            yield call.lineno, f"{receiver}.{name}() has no place here"
        if any(one.arg == "shell" and getattr(one.value, "value", False) is True for one in call.keywords):
            yield call.lineno, "shell=True runs text: pass a list of arguments"


def formatted_log_messages(tree: ast.Module, module: str) -> Broken:
    """A log message is a constant with placeholders: user text in it would be read as a format."""
    for call, receiver, name in _calls(tree):
        if name in _LOG_METHODS and (receiver in _LOGGERS or (receiver, name) == ("", "log")) and call.args:
            message = call.args[1] if name == "log" and len(call.args) > 1 else call.args[0]
            if isinstance(message, ast.JoinedStr | ast.BinOp) or (
                isinstance(message, ast.Call) and getattr(message.func, "attr", "") == "format"
            ):
                yield call.lineno, f"{receiver}.{name} with a message built from values: pass the values as arguments"


def wall_clock(tree: ast.Module, module: str) -> Broken:
    """Time comes from a Clock, so that a test can move it."""
    # The clock itself, and certificates, whose validity the real clock of a client decides.
    if module in {"core.llm.common.clock", "core.llm.testing.wire_tls"}:
        return
    for call, receiver, name in _calls(tree):
        if (receiver, name) in {("time", "time"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}:
            yield call.lineno, f"{receiver}.{name}(): take a Clock"


def sleeping_adapters(tree: ast.Module, module: str) -> Broken:
    """A provider translates and sends; waiting and trying again is the pipeline's business."""
    provider = module.startswith("core.llm.providers.") and not module.startswith("core.llm.providers.config")
    # A model manager polls until a model is in memory, gone or downloaded; that is its work, on the clock it was given.
    if not (provider or module.startswith("core.llm.dialects")) or module.endswith((".model_manager", ".pull_jobs")):
        return
    for call, receiver, name in _calls(tree):
        if name == "sleep":
            yield call.lineno, f"{receiver}.sleep() in a provider or dialect: the pipeline waits, providers do not"


_SENDING = {"send", "generate", "stream_generate", "embed"}


def repeating_adapters(tree: ast.Module, module: str) -> Broken:
    """A provider sends once: whether a failure is tried again is decided by one layer, which knows the budget."""
    provider = module.startswith("core.llm.providers.") and not module.startswith("core.llm.providers.config")
    if not (provider or module.startswith("core.llm.dialects")) or module.endswith((".model_manager", ".pull_jobs")):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.While) and any(
            isinstance(inner, ast.Try) and inner.handlers and any(name in _SENDING for _, _, name in _calls(inner))
            for inner in ast.walk(node)
        ):
            yield node.lineno, "a loop that sends again after an error: the retry layer does that, providers do not"


def blocking_sleep(tree: ast.Module, module: str) -> Broken:
    """Nothing blocks the event loop."""
    for call, receiver, name in _calls(tree):
        if (receiver, name) == ("time", "sleep"):
            yield call.lineno, "time.sleep() blocks the event loop: await clock.sleep()"


def swallowed_errors(tree: ast.Module, module: str) -> Broken:
    """No error disappears without a word, and cancellation always passes."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        names = {getattr(one, "attr", getattr(one, "id", None)) for one in caught}
        silent = all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
        if silent and names & {"Exception", "BaseException", None}:
            yield node.lineno, "every error is swallowed here: catch the ones you mean, and say so"
        if names & {"CancelledError"} and silent and not _may_end_cancellation(tree, node, module):
            yield node.lineno, "cancellation ends here: raise it again"


def _may_end_cancellation(tree: ast.Module, handler: ast.ExceptHandler, module: str) -> bool:
    """True where the handler ends the wait for a task that the same function has cancelled, or is known to be right."""
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) and handler in ast.walk(function):
            cancels = any(name == "cancel" for _, _, name in _calls(function))
            return cancels or (module, function.name) in _ENDS_CANCELLATION
    return False


def yields_inside_a_timeout(tree: ast.Module, module: str) -> Broken:
    """A generator must not hand out values inside a timeout or task group: the consumer's time would be cut."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith) and any(_opens_a_scope(item.context_expr) for item in node.items):
            for inner in _without_functions(node.body):
                if isinstance(inner, ast.Yield | ast.YieldFrom):
                    yield inner.lineno, "yield inside asyncio.timeout() or a TaskGroup: time a single await instead"


def _opens_a_scope(expression: ast.expr) -> bool:
    return any(name in {"timeout", "timeout_at", "TaskGroup"} for _, _, name in _calls(expression))


def _without_functions(body: list[ast.stmt]) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


RULES: tuple[Rule, ...] = (
    unsafe_arguments,
    unsafe_formats,
    formatted_log_messages,
    wall_clock,
    sleeping_adapters,
    repeating_adapters,
    blocking_sleep,
    swallowed_errors,
    yields_inside_a_timeout,
)
