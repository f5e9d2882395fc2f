"""Which kinds of provider ship with the library."""

import subprocess
import sys

from core.llm.factory.discovery import builtin_names, builtin_spec


def test_each_folder_has_a_specification_of_its_own_name() -> None:
    """Folders that are no providers have none."""
    for name in builtin_names():
        spec = builtin_spec(name)
        assert spec is not None
        assert spec.name == name
    assert builtin_spec("base") is None
    assert builtin_spec("config") is None
    assert builtin_spec("../evil") is None


def test_listing_providers_imports_none_of_them() -> None:
    """Not even their packages."""
    code = (
        "import sys; from core.llm.factory.discovery import builtin_names; assert builtin_names();"
        "print([name for name in sys.modules if name.startswith('core.llm.providers.')"
        " and name.split('.')[3] not in {'base', 'config'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
