"""Classes as users write them for the custom provider: good ones, and some with every fault one can think of."""

import os
import threading
import time

released = threading.Event()
"""Ends what hangs."""


class Echo:
    """Says what it was asked, in capital letters; can do everything."""

    made = 0
    unloaded = 0

    def load(self, settings):
        Echo.made += 1
        self.settings = settings

    def generate(self, request):
        self.closed = False
        text = request.get("prompt") or request["messages"][-1]["content"]
        if text == "settings":
            yield repr(sorted(self.settings.items()))
        elif text == "request":
            yield repr(sorted(request.items()))
        elif text == "ends":
            yield "one "
            yield {"finish_reason": "length", "input_tokens": 3, "output_tokens": 1}
        elif text == "odd end":
            yield {"finish_reason": "tired"}
        elif text == "refuse":
            raise ValueError("no such thing")
        elif text == "break":
            raise RuntimeError(f"it quotes {text}")
        elif text == "die":
            yield "last words"
            os._exit(9)
        elif text == "nothing":
            return
        elif text == "forever":
            try:
                while True:
                    yield "on "
                    time.sleep(0.005)
            finally:
                type(self).stopped.set()
        else:
            for word in text.split():
                yield word.upper() + " "

    stopped = threading.Event()

    def embed(self, texts):
        if "bad" in texts:
            raise ValueError("not that text")
        return [[float(len(text)), 1.0] for text in texts]

    def count_tokens(self, request):
        return len(request["messages"][-1]["content"].split())

    def unload(self):
        Echo.unloaded += 1


class Plain:
    """Only what has to be there."""

    def load(self, settings):
        if settings["options"].get("refuse"):
            raise OSError("the weights do not fit this class")

    def generate(self, request):
        return ["a", "b", "c"]


class Silent:
    """Lacks a method."""

    def load(self, settings):
        """Nothing to do."""


class Deaf:
    """Does not notice that nobody listens any more."""

    def load(self, settings):
        """Nothing to do."""

    def generate(self, request):
        released.wait(60)
        yield "late"


licence_asked = []


def passes(request):
    """A licence for everything."""
    licence_asked.append(request)


async def passes_later(request):
    """The same, asked over a network."""
    licence_asked.append(request)
    return True


def refuses(request):
    """With a reason."""
    return f"no licence for {request.model}"


def denies(request):
    """Without one."""
    return False


def breaks(request):
    """By an exception, which holds something it should not."""
    raise PermissionError("key sk-abcdefghijklmnop is not valid\nsecond line")


def hangs(request):
    """A licence server that does not answer."""
    released.wait(60)
