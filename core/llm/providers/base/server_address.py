"""The address of a server of one's own, as people write it."""

from collections.abc import Callable


def server_address(port: int, product: str, instead: str = "") -> Callable[[str], str]:
    """A validator for `base_url`: without a scheme it is http, then without a port it is *port*.

    The validator raises `ValueError` for an address with the path of an API at its end; *instead* is what to do for one
    of the other APIs of *product*.
    """

    def check(value: str) -> str:
        url = value.strip().rstrip("/")
        if not url:
            raise ValueError(f"base_url is empty; write the server's address, such as http://localhost:{port}")
        if "://" not in url:
            host = url.rpartition("]")[2] if url.startswith("[") else url
            url = f"http://{url}" if ":" in host else f"http://{url}:{port}"
        if url.endswith(("/v1", "/api", "/v0")):
            raise ValueError(
                f"base_url is the server's address alone: leave out the path, since {product} has several APIs beside "
                f"each other{instead}"
            )
        return url

    return check
