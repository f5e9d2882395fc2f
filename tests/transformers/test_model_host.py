"""The model host contract with torch and the small model. Only where there is time for it: each check loads several."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.llm.providers.transformers import local_model
from core.llm.testing import ModelHostBench, ModelHostContract
from core.llm.testing.model_host_case import Hosted
from tests.model_hosts.transformers_bench import TransformersBench


@pytest.mark.timeout(600)
@pytest.mark.leakcheck
class TestTransformers(ModelHostContract):
    """Everything real: files, torch, processes."""

    @pytest.fixture
    def bench(self, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TransformersBench:
        monkeypatch.setattr(local_model, "_ENGINE", "tests.model_hosts.watched_transformers_worker")
        bench = TransformersBench(tmp_path, model_folder, torch=True)
        bench.patience = 120.0
        return bench

    def serve(self, bench: ModelHostBench, more: Mapping[str, Any] | None = None, **residency: Any) -> Hosted:
        """A load takes seconds, and on a busy machine several in turn take longer than a call waits by default."""
        return super().serve(bench, more, **{"acquire_timeout": "10m", **residency})
