"""The conversation: what was said, and the injected service that answers."""

from injector import inject

from core.llm import LLMService, LLMStream, Message, UnknownModel


class Assistant:
    """Keeps the conversation and asks the service. Knows nothing of terminals."""

    @inject
    def __init__(self, llm: LLMService) -> None:
        self.llm = llm
        self.model: str | None = None
        self._system: tuple[Message, ...] = ()
        self._turns: list[Message] = []

    def instruct(self, system: str) -> None:
        """Put *system* before every conversation."""
        self._system = (Message("system", system),)

    def ask(self, text: str) -> LLMStream:
        """The answer to *text* in the light of what was said before; tell `remember` once it is complete."""
        return self.llm.stream([*self._system, *self._turns, Message("user", text)], model=self.model)

    def remember(self, text: str, answer: Message) -> None:
        """Keep a completed turn."""
        self._turns += [Message("user", text), answer]

    def forget(self) -> None:
        """Begin a new conversation."""
        self._turns.clear()

    def choose(self, model: str | None) -> None:
        """Talk to *model* from now on; `None` is the default again.

        Raises:
            UnknownModel: there is no such model.
        """
        if model is not None and self.llm.explain("hello", model=model).first is None:
            raise UnknownModel(f"no candidate of {model!r} is available: see /explain {model}")
        self.model = model
