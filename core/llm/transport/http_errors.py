"""What aiohttp and the operating system raise, in our own words.

aiohttp's exceptions hold the request with all its headers, keys included. They are read here and then dropped: never
chained, never logged. Callers therefore raise what these functions return *outside* of the `except` block.
"""

import asyncio
import os
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import one_line
from core.llm.transport.http_attempt import Attempt

CAUGHT = (
    aiohttp.ClientError,
    HttpProcessingError,
    asyncio.TimeoutError,
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
)
"""Everything that a request or a read is known to raise: aiohttp reports a closed session by `RuntimeError` and a
malformed header by `ValueError`."""


def error_of_request(cause: BaseException, attempt: Attempt, where: str, *, tls: bool) -> ProviderError:
    """Why no head of an answer came."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return ProviderError(
            "network_error",
            f"the proxy refuses to connect to {where} (HTTP {cause.status}); check the name and password in `proxy`",
            code="proxy",
            status_code=cause.status,
            retryable=cause.status >= 500,
        )
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return _network("proxy", f"the proxy for {where} cannot be reached: {_reason(cause.os_error)}; check `proxy`")
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return _network("dns", f"the name {where} cannot be resolved; check base_url and the network")
    if isinstance(cause, aiohttp.ClientSSLError):
        return _tls(cause, where)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return _network("connect", f"cannot connect to {where}: {_reason(cause.os_error)}; check base_url")
    if isinstance(cause, aiohttp.ClientResponseError | HttpProcessingError):
        return _malformed(cause, attempt, where)
    if isinstance(cause, aiohttp.ServerTimeoutError):
        return ProviderError("timeout", f"no connection to {where} in time", code="connect_timeout")
    if isinstance(cause, ValueError):
        return ProviderError(
            "invalid_request", "a header or the URL of the request holds characters that HTTP forbids", code="headers"
        )
    if isinstance(cause, RuntimeError | aiohttp.ClientConnectionResetError) and attempt.failure:
        return attempt.error(where)
    return _lost(attempt, where, tls=tls)


def error_of_body(cause: BaseException, attempt: Attempt, where: str) -> ProviderError:
    """Why the body of an answer did not come to its end."""
    if attempt.failure is not None:
        return attempt.error(where)
    if isinstance(cause, aiohttp.ClientPayloadError) and "not completed" not in str(cause):
        return ProviderError(
            "protocol", f"the answer of {where} is not valid HTTP", code="http", billing=attempt.billing
        )
    return ProviderError(
        "network_error", f"the connection to {where} broke in the middle of the answer", code="body_cut",
        billing=attempt.billing,
    )  # fmt: skip


def redirect_error(status: int, location: str | None, where: str) -> ProviderError:
    """An answer that points elsewhere; only the host it points to is named, never the whole address."""
    target = one_line(_host(location), 100)
    return ProviderError(
        "protocol",
        f"{where} redirects to {target}; redirects are not followed because they could carry the key away. "
        "Set base_url to the final address",
        code="redirect",
        status_code=status,
        retryable=False,
    )


def _host(location: str | None) -> str:
    from urllib.parse import urlsplit  # noqa: PLC0415 - needed for this one error only

    try:
        return urlsplit(location or "").hostname or "another path of the same host"
    except ValueError:
        return "an address that cannot be read"


def _network(code: str, text: str, *, retryable: bool = True) -> ProviderError:
    return ProviderError("network_error", text, code=code, retryable=retryable)


def _tls(cause: aiohttp.ClientSSLError, where: str) -> ProviderError:
    reason = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else cause
    certificate = getattr(cause, "certificate_error", None) or reason
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return _network(
            "tls",
            f"the certificate of {where} is not trusted: {one_line(certificate.verify_message or 'rejected', 120)}; "
            "set ca_file if the server has its own authority",
            retryable=False,
        )
    if isinstance(certificate, ssl.CertificateError):
        return _network("tls", f"the certificate of {where} is for another host", retryable=False)
    detail = getattr(reason, "reason", None) or "handshake failed"
    hint = "; the server seems to speak plain http" if detail == "WRONG_VERSION_NUMBER" else ""
    return _network("tls", f"no TLS connection to {where}: {one_line(str(detail), 80)}{hint}")


def _malformed(cause: aiohttp.ClientResponseError | HttpProcessingError, attempt: Attempt, where: str) -> ProviderError:
    parsing = cause.__cause__ if isinstance(cause, aiohttp.ClientResponseError) else cause
    deeper = parsing.__cause__ if parsing is not None else None
    if isinstance(deeper, LineTooLong) or "Too many headers" in cause.message:
        return ProviderError(
            "protocol", f"the headers of {where}'s answer are beyond the limits", code="headers", retryable=False,
            billing=attempt.billing,
        )  # fmt: skip
    return ProviderError(
        "protocol",
        f"{where} did not answer in HTTP; check the scheme and port of base_url",
        code="http",
        billing=attempt.billing,
    )


def _lost(attempt: Attempt, where: str, *, tls: bool) -> ProviderError:
    if not attempt.connected_anew and (attempt.wire is None or not attempt.wire.heard):
        # The server closed an idle connection while we were writing to it: it has not seen the request.
        return _network("stale_connection", f"{where} had closed the idle connection that was used again")
    hint = "" if tls else "; if it expects TLS, write https:// in base_url"
    return ProviderError(
        "network_error", f"{where} closed the connection without an answer{hint}", code="connection_lost",
        billing=attempt.billing,
    )  # fmt: skip


def _reason(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return one_line(error.strerror or type(error).__name__, 120)
