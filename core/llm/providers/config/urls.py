"""Which addresses a request may be sent to."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from core.llm.providers.config.models.provider import ProviderConfig

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA_HOSTS: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_HOST: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
# What resolvers take for an IPv4 address although it does not look like one: 2130706433, 0x7f.1, 127.1.
_NUMBER_HOST: Final = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*")
_AUTH_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key"})


def url_problem(url: str, *, allow_private: bool = True) -> tuple[str, str] | None:
    """What is wrong with *url* as the address of a provider, and what to do; None where nothing is."""
    if re.search(r"[\x00-\x20\x7f]", url):
        return "holds spaces or control characters", "remove them"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not an address", "write http(s)://host[:port][/path]"
    if parts.scheme not in {"http", "https"}:
        return "must begin with http:// or https://", "write http(s)://host[:port][/path]"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password", "use api_key or headers for credentials"
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "holds a query or fragment", "end it with the path"
    if port == 0:
        return "has port 0", "write the server's port, or none for the default"
    host = (parts.hostname or "").rstrip(".")
    if not host:
        return "names no host", "write http(s)://host[:port][/path]"
    return _host_problem(host, allow_private=allow_private)


def _host_problem(host: str, *, allow_private: bool) -> tuple[str, str] | None:
    if host in _METADATA_HOSTS:
        return "is the metadata service of a cloud", "write the provider's address"
    address = _address(host)
    if address is None:
        if _NUMBER_HOST.fullmatch(host):
            return "writes an IP address in an unusual form", "write four numbers with dots"
        if ":" in host or not _HOST.fullmatch(host):
            return "is not a valid host name", "use letters, digits, `-` and dots; write other scripts as punycode"
        return None
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.teredo):
        return "hides an IPv4 address in an IPv6 one", "write the IPv4 address"
    if address.is_unspecified:
        return "is the address to listen on, not one to call", "write 127.0.0.1, or the machine's name"
    if address.is_link_local or address.is_multicast or (address.is_reserved and not address.is_loopback):
        return "is a link-local, multicast or reserved address", "write the provider's address"
    if address.is_private and not address.is_loopback and not allow_private:
        return "is in a private network, and allow_private is false", "set allow_private: true if this is meant"
    return None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(url: str) -> bool:
    """True where *url* does not leave this machine."""
    host = urlsplit(url).hostname or ""
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def sends_credentials(config: ProviderConfig) -> bool:
    """True where requests of this provider carry a secret."""
    return bool(config.api_key or config.api_keys or _AUTH_HEADERS & {name.lower() for name in config.headers})
