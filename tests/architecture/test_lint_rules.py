"""The rules of the house hold everywhere, and each of them catches what it is there for."""

import ast

import pytest

from tests.architecture import rules
from tests.architecture.source import sources

PROVIDER = "core.llm.providers.acme.provider"

BAD = [
    (rules.unsafe_arguments, "connect(url, ssl=False)"),
    (rules.unsafe_arguments, "session.get(url, allow_redirects=True)"),
    (rules.unsafe_arguments, "logger.add(sink, diagnose=True)"),
    (rules.unsafe_formats, "import pickle"),
    (rules.unsafe_formats, "from marshal import loads"),
    (rules.unsafe_formats, "yaml.load(text, Loader)"),
    (rules.unsafe_formats, "eval(text)"),
    (rules.unsafe_formats, "subprocess.run(text, shell=True)"),
    (rules.formatted_log_messages, "log.info(f'user {name} asked', name=name)"),
    (rules.formatted_log_messages, "self._log.warning('failed: ' + text)"),
    (rules.formatted_log_messages, "logger.log(10, f'{text}')"),
    (rules.formatted_log_messages, "log('INFO', f'{text}')"),
    (rules.wall_clock, "start = time.time()"),
    (rules.wall_clock, "datetime.now(UTC)"),
    (rules.sleeping_adapters, "async def generate():\n    await asyncio.sleep(1)"),
    (rules.sleeping_adapters, "async def generate(self):\n    await self.services.clock.sleep(1)"),
    (
        rules.repeating_adapters,
        "async def f(self):\n for _ in range(3):\n  try:\n   return await self.transport.send(c)\n  except E:\n   pass",
    ),
    (rules.blocking_sleep, "time.sleep(1)"),
    (rules.swallowed_errors, "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.swallowed_errors, "try:\n    f()\nexcept:\n    pass"),
    (
        rules.swallowed_errors,
        "async def f():\n    try:\n        await g()\n    except asyncio.CancelledError:\n        pass",
    ),
    (rules.yields_inside_a_timeout, "async def f():\n    async with asyncio.timeout(1):\n        yield 1"),
    (rules.yields_inside_a_timeout, "async def f():\n    async with asyncio.TaskGroup() as g:\n        yield g"),
]

GOOD = [
    (rules.unsafe_arguments, "session.get(url, allow_redirects=False, ssl=context)"),
    (rules.unsafe_formats, "yaml.compose(text, SafeLoader)"),
    (rules.formatted_log_messages, "log.info('user %s asked', name)"),
    (rules.formatted_log_messages, "log.log(level, 'constant')"),
    (rules.wall_clock, "clock.now()"),
    (rules.swallowed_errors, "try:\n    f()\nexcept ValueError:\n    pass"),
    (
        rules.swallowed_errors,
        "async def f(t):\n    t.cancel()\n    try:\n        await t\n    except asyncio.CancelledError:\n        pass",
    ),
    (
        rules.yields_inside_a_timeout,
        "async def f():\n    async with asyncio.timeout(1):\n        x = await g()\n    yield x",
    ),
]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds_everywhere(rule):
    """Each offence is named with file and line."""
    broken = [
        f"{source.at(line)}: {advice}" for source in sources() for line, advice in rule(source.tree, source.module)
    ]

    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize(("rule", "text"), BAD)
def test_the_rule_catches_an_offence(rule, text):
    """A rule that catches nothing protects nothing."""
    assert list(rule(ast.parse(text), PROVIDER))


@pytest.mark.parametrize(("rule", "text"), GOOD)
def test_the_rule_leaves_good_code_alone(rule, text):
    """A rule that cries wolf is switched off sooner or later."""
    assert not list(rule(ast.parse(text), PROVIDER))


def test_every_rule_has_an_example():
    """What a rule means can be read from the code it refuses."""
    assert {rule for rule, _ in BAD} == set(rules.RULES)
