"""A worker of the transformers provider whose answers come from an OpenAI-like server, as `proxy_llama_worker`."""

from pathlib import Path
from urllib.parse import urlsplit

from core.llm.transport.worker_main import serve
from tests.workers.proxy_llama_worker import ProxyEngine


class ProxyTransformersEngine(ProxyEngine):
    def load(self, params, job):
        self.url = urlsplit((Path(params["source"]) / "upstream").read_text())
        return {"device": "cpu", "batch": 1}


if __name__ == "__main__":
    serve(ProxyTransformersEngine)
