"""The local server that every client is measured against: OpenAI chat answers, prepared once, sent as fast as possible.

It runs in a process of its own so that only the client's CPU time is counted, and it counts the requests it answered.
"""

import argparse
import asyncio
import json
import sys

CHUNKS = 1000
TEXT = "The quick brown fox jumps over the lazy dog. " * 8


def answer_body() -> bytes:
    """A chat completion of about 1.2 KB."""
    return json.dumps({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_790_000_000, "model": "bench-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT * 2, "refusal": None},
                     "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 42, "completion_tokens": 160, "total_tokens": 202,
                  "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                  "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}},
        "service_tier": "default", "system_fingerprint": "fp_bench",
    }).encode()  # fmt: skip


def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    """One server-sent event of about 300 bytes."""
    body = {
        "id": "chatcmpl-bench-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_790_000_000,
        "model": "bench-model", "service_tier": "default", "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], "usage": None,
        "obfuscation": "x" * 40,
    }  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def stream_body() -> bytes:
    """A stream of `CHUNKS` pieces of text."""
    tokens = {"prompt_tokens": 42, "completion_tokens": CHUNKS, "total_tokens": 42 + CHUNKS}
    usage = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "model": "bench-model",
        "choices": [],
        "usage": tokens,
    }
    return b"".join([
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": f" word{number:04}"}) for number in range(CHUNKS)),
        chunk({}, "stop"),
        b"data: " + json.dumps(usage).encode() + b"\n\n",
        b"data: [DONE]\n\n",
    ])  # fmt: skip


def _response(body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nx-request-id: req_0123456789abcdef\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Upstream(asyncio.Protocol):
    """Answers each complete request with a prepared response."""

    whole = _response(answer_body(), "application/json")
    streamed = _response(stream_body(), "text/event-stream")
    models = _response(b'{"object":"list","data":[{"id":"bench-model","object":"model"}]}', "application/json")
    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Part of a request has arrived."""
        self.received += data
        while True:
            head, separator, rest = self.received.partition(b"\r\n\r\n")
            if not separator:
                return
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            if len(rest) < length:
                return
            body, self.received = rest[:length], rest[length:]
            if head.startswith(b"GET"):
                # A health check, which comes where a measurement takes long: no answer that anybody claims.
                self.transport.write(self.models)  # type: ignore[attr-defined]  # a Transport
                continue
            Upstream.served += 1
            streaming = b'"stream":true' in body.replace(b" ", b"")
            self.transport.write(self.streamed if streaming else self.whole)  # type: ignore[attr-defined]  # a Transport


async def serve(port: int) -> None:
    """Serve until standard input closes; print the port first and the count of answers last."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(Upstream.served, flush=True)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
