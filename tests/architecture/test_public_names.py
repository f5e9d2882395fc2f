"""The public names: what a host imports is there, documented, and spelled out."""

import ast
import importlib
import inspect
import typing

import pytest

from tests.architecture.source import sources

PACKAGES = ("core.llm", "core.llm.testing", "core.container", "core.lifecycle")


def public_names(package: str) -> list[str]:
    """What *package* declares public; for a plain module, what it defines without an underscore."""
    module = importlib.import_module(package)
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return list(declared)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == package
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package):
    """`__all__` promises nothing that is not there, and nothing twice."""
    names = public_names(package)
    module = importlib.import_module(package)

    assert names
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", ["core.llm", "core.llm.testing"])
def test_the_list_of_public_names_is_sorted(package):
    """A reader finds a name, and two changes to the list do not collide."""
    names = public_names(package)

    assert names == sorted(names, key=lambda name: (not name.isupper(), name))


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in PACKAGES for name in public_names(package)]
)
def test_every_public_name_is_documented(package, name):
    """Each class and function has a docstring of its own, and each public method of a class as well."""
    thing = getattr(importlib.import_module(package), name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return  # a type alias or a constant; documented where it is defined
    assert (thing.__doc__ or "").strip(), f"{package}.{name} has no docstring"
    assert not (thing.__doc__ or "").startswith(f"{name}("), f"{package}.{name} has a generated docstring only"
    if inspect.isclass(thing):
        missing = [
            member
            for member, value in vars(thing).items()
            if not member.startswith("_")
            and (inspect.isfunction(value) or isinstance(value, property))
            and not inspect.getdoc(getattr(thing, member))
        ]
        assert not missing, f"no docstring: {', '.join(f'{name}.{member}' for member in missing)}"


@pytest.mark.parametrize("package", ["core.llm", "core.llm.testing"])
def test_an_unknown_name_is_an_attribute_error(package):
    """Late imports do not hide a typing mistake."""
    with pytest.raises(AttributeError, match="NoSuchName"):
        importlib.import_module(package).NoSuchName  # noqa: B018 - looking it up is the test


def imports_for_the_type_checker(package: str) -> dict[str, str]:
    """Name -> module, of what *package* imports under `if TYPE_CHECKING:`."""
    tree = next(source.tree for source in sources() if source.module == package)
    return {
        alias.asname or alias.name: str(node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_type_checker_and_the_interpreter_find_each_name_in_the_same_module():
    """`core.llm` says twice where its names are; a name that only one of them knows is a bug that the other hides."""
    import core.llm

    assert imports_for_the_type_checker("core.llm") == core.llm._MODULES
    assert set(core.llm._MODULES) == set(core.llm.__all__)


def test_a_name_is_the_same_thing_each_time_it_is_asked_for():
    """Also in the module that defines it: `except` and `isinstance` compare identities."""
    import core.llm

    for name, module in core.llm._MODULES.items():
        assert getattr(core.llm, name) is getattr(core.llm, name)
        assert getattr(core.llm, name) is getattr(importlib.import_module(module), name)


def test_every_public_name_is_offered_for_completion():
    """Before it has been used for the first time as well."""
    import core.llm

    assert set(core.llm.__all__) <= set(dir(core.llm))


def test_a_star_imports_every_public_name():
    """For notebooks."""
    namespace: dict = {}
    exec("from core.llm import *", namespace)

    assert set(public_names("core.llm")) <= set(namespace)


@pytest.mark.parametrize("name", ["ChatModel", "LLMClient", "LLMService", "LLMStream", "ModelManager", "ObjectStream"])
def test_the_annotations_of_a_method_can_be_read_while_the_program_runs(name):
    """Frameworks read them, of what they are given to call: web routes, command lines, tools."""
    import core.llm

    methods = [
        method
        for member, method in vars(getattr(core.llm, name)).items()
        if inspect.isfunction(method) and not member.startswith("_")
    ]

    assert methods
    for method in methods:
        typing.get_type_hints(method)
