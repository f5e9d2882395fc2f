import pytest

from tests.plugins.packages import Site


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place for third-party packages, empty at first."""
    site = Site(tmp_path / "site", monkeypatch)
    yield site
    site.close()
