"""Certificates for a `WireServer` that speaks TLS. Needs the package `trustme`."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class WireCertificate:
    """What the server presents, and the authority a client has to trust to accept it."""

    context: ssl.SSLContext = field(repr=False)
    """For `WireServer(tls=…)`."""
    authority: bytes
    """PEM; write it to the file that the client's `ca_file` names."""


def certificate(host: str = "127.0.0.1", *, expired: bool = False) -> WireCertificate:
    """A certificate for *host*, signed by an authority made for it alone."""
    import trustme  # noqa: PLC0415 - a package for tests, needed for TLS only

    authority = trustme.CA()
    until = datetime.now(UTC) - timedelta(days=1) if expired else None
    issued = authority.issue_cert(host, not_after=until)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return WireCertificate(context, authority.cert_pem.bytes())
