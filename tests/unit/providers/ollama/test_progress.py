"""Progress of a pull as one number."""

from core.llm.providers.base.provider import Progress
from core.llm.providers.ollama.models.catalogue import TransferProgress
from core.llm.providers.ollama.progress import PullTotals


def test_progress_of_a_pull_never_falls():
    """F148: a part that is tried again reports fewer bytes; the sum stays."""
    totals = PullTotals()
    lines = [("a", 100, 10), ("a", 100, 60), ("a", 100, 20), ("b", 50, None), ("b", 50, 50), ("a", 100, 100)]
    seen = [totals.add(TransferProgress("pulling", digest, total, completed)) for digest, total, completed in lines]

    assert [progress.completed for progress in seen] == [10, 60, 60, 60, 110, 150]
    assert seen[-1].total == 150
    assert totals.finished() == Progress("success", 150, 150)
