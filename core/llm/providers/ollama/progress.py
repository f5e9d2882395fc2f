"""Progress of a pull as one rising number."""

from core.llm.providers.base.provider import Progress
from core.llm.providers.ollama.models.catalogue import TransferProgress


class PullTotals:
    """Adds the layers of a pull up. The sum of completed bytes never falls."""

    __slots__ = ("_completed", "_layers")

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._completed = 0

    def add(self, line: TransferProgress) -> Progress:
        """Take one line into account."""
        if line.digest and line.total:
            before = self._layers.get(line.digest, (0, 0))[0]
            # A retried part reports fewer bytes than before; a bar that runs backwards helps nobody.
            self._layers[line.digest] = (max(before, min(line.completed or 0, line.total)), line.total)
        return self._progress(line.status)

    def finished(self) -> Progress:
        """The whole pull, complete."""
        self._layers = {digest: (total, total) for digest, (_, total) in self._layers.items()}
        return self._progress("success")

    def _progress(self, message: str) -> Progress:
        if not self._layers:
            return Progress(message)
        self._completed = max(self._completed, sum(done for done, _ in self._layers.values()))
        return Progress(message, self._completed, sum(total for _, total in self._layers.values()))
