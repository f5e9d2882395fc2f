"""Every worker has an empty directory of its own, which nobody else can enter or take its place."""

import tempfile

import pytest

from core.llm.transport.process_scratch import ScratchDirectory


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Keep away from the real directory for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_goes_away(temporary):
    """With everything in it."""
    scratch = ScratchDirectory()
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert scratch.path.parent.stat().st_mode & 0o777 == 0o700
    (scratch.path / "sub").mkdir()
    (scratch.path / "sub" / "file").write_text("x")
    scratch.remove()
    assert not scratch.path.exists()


def test_what_a_killed_host_left_is_removed_and_what_is_in_use_is_not(temporary):
    """The lock tells them apart."""
    used = ScratchDirectory()
    left = used.path.with_name("left-by-a-killed-host")
    left.mkdir()
    (left / "engine.sock").write_text("")
    another = ScratchDirectory()
    assert not left.exists()
    assert used.path.is_dir()
    used.remove()
    another.remove()


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_root_that_somebody_else_prepared_is_not_used(temporary, kind):
    """The directory for temporary files is shared with strangers."""
    probe = ScratchDirectory()
    root = probe.path.parent
    probe.remove()
    root.rmdir()
    if kind == "open to others":
        root.mkdir()
        root.chmod(0o777)
    elif kind == "a link":
        (temporary / "elsewhere").mkdir(mode=0o700)
        root.symlink_to(temporary / "elsewhere")
    else:
        root.write_text("")
    scratch = ScratchDirectory()
    assert scratch.path.parent != root
    assert scratch.path.parent.stat().st_mode & 0o777 == 0o700
    scratch.remove()
