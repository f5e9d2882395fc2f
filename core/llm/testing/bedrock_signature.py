"""Checks AWS signatures as the service does, written from the specification and without botocore."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), "
    r"Signature=([0-9a-f]{64})"
)
_VALID_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose signatures are accepted."""

    access_key: str = "AKIDEXAMPLE"
    secret_key: str = field(default="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", repr=False)
    token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    service: str = "bedrock"


def signature_problem(
    account: Account, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> tuple[str, str] | None:
    """Name and message of the exception that the service would answer with; `None` where the signature is good.

    *headers* have lower-case names; *raw_path* is the path as it stood in the request line.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "IncompleteSignatureException", "Authorization header requires Credential, SignedHeaders and Signature."
    access_key, day, region, service, names, signature = match.groups()
    if access_key != account.access_key or headers.get("x-amz-security-token") != account.token:
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    if (region, service) != (account.region, account.service):
        return "InvalidSignatureException", f"Credential should be scoped to {account.region} and {account.service}."
    signed = names.split(";")
    wanted = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if signed != sorted(signed) or not wanted.issubset(signed):
        return "InvalidSignatureException", f"these headers must be signed, in order: {';'.join(sorted(wanted))}"
    stamp = headers.get("x-amz-date", "")
    if not stamp.startswith(day):
        return "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from x-amz-date."
    made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(now - made) > _VALID_FOR:
        limit = f"{now - _VALID_FOR:%Y%m%dT%H%M%SZ}"
        return "InvalidSignatureException", f"Signature expired: {stamp} is now earlier than {limit}"
    canonical = "\n".join(
        [
            method,
            quote(raw_path, safe="/~"),
            query,
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{account.secret_key}".encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    if hmac.new(key, text.encode(), "sha256").hexdigest() != signature:
        message = (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method.\n\nThe Canonical String for this request should have been\n"
            f"'{canonical}'\n\nThe String-to-Sign should have been\n'{text}'\n"
        )
        return "InvalidSignatureException", message
    return None
