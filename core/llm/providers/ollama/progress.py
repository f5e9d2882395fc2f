"""Progress of a pull as one rising number."""

from core.llm.providers.base.provider import Progress
from core.llm.providers.ollama.models.catalogue import TransferProgress


class PullTotals:
    """Adds the layers of a pull up. The sum of completed bytes never falls."""

    __slots__ = ("_completed", "_layers", "_said")

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._completed = 0
        self._said: set[str] = set()

    def add(self, line: TransferProgress) -> Progress:
        """Take one line into account."""
        self._said.add(line.status.partition(" ")[0])
        if line.digest and line.total:
            before = self._layers.get(line.digest, (0, 0))[0]
            # A retried part reports fewer bytes than before; a bar that runs backwards helps nobody.
            self._layers[line.digest] = (max(before, min(line.completed or 0, line.total)), line.total)
        return self._progress(line.status)

    @property
    def verified(self) -> bool:
        """Whether what has moved was checked against its digests; nothing is to be checked where nothing moved."""
        return not self._layers or "verifying" in self._said

    def finished(self) -> Progress:
        """The whole pull, complete."""
        self._layers = {digest: (total, total) for digest, (_, total) in self._layers.items()}
        return self._progress("success")

    def _progress(self, message: str) -> Progress:
        if not self._layers:
            return Progress(message)
        self._completed = max(self._completed, sum(done for done, _ in self._layers.values()))
        return Progress(message, self._completed, sum(total for _, total in self._layers.values()))
