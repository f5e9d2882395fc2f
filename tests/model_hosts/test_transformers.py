"""The model host contract on the transformers provider: real processes, without torch in them.

`make test-transformers` runs it with torch and a real model as well.
"""

import pytest

from core.llm.providers.transformers import local_model
from core.llm.testing import ModelHostContract
from tests.model_hosts.transformers_bench import TransformersBench
from tests.unit.providers.transformers import folders


@pytest.mark.leakcheck
class TestTransformers(ModelHostContract):
    """Everything of the host's side: files, processes, books."""

    @pytest.fixture
    def bench(self, tmp_path, monkeypatch):
        monkeypatch.setattr(local_model, "_ENGINE", "tests.model_hosts.watched_transformers_worker")
        monkeypatch.setattr(local_model, "_PACKAGES", ())
        (tmp_path / "models").mkdir()
        return TransformersBench(tmp_path / "models", folders.model(tmp_path / "model"), torch=False)
