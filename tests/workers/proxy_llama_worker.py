"""A worker whose answers come from an OpenAI-like server: lets the provider contract script what an engine says."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

from core.llm.transport.worker_main import EngineError, serve


class ProxyEngine:
    methods = frozenset({"load", "chat", "embed"})

    def load(self, params, job):
        self.url = urlsplit(params["engine"]["url"])

    def chat(self, params, job):
        connection, answer = self._post("/chat/completions", params, job)
        try:
            if answer.status >= 300:
                job.emit(f"data: {json.dumps(json.loads(answer.read()))}\n\n")
                return
            while line := answer.readline():
                if line.strip() != b"data: [DONE]" and not job.emit(line.decode()):
                    return
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError("server_error", f"the engine broke: {type(error).__name__}") from None
        finally:
            connection.close()

    def embed(self, params, job):
        connection, answer = self._post("/embeddings", params, job)
        try:
            return {"status": answer.status, "body": answer.read().decode()}
        finally:
            connection.close()

    def _post(self, path, params, job):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)
        connection.connect()
        threading.Thread(target=_cut_when_cancelled, args=(connection.sock, job), daemon=True).start()
        body = params["body"].encode()
        connection.request("POST", self.url.path + path, body, {"content-type": "application/json"})
        return connection, connection.getresponse()


def _cut_when_cancelled(connection, job):
    while not job.cancelled and connection.fileno() >= 0:
        time.sleep(0.005)
    if job.cancelled:
        connection.shutdown(2)


if __name__ == "__main__":
    serve(ProxyEngine)
