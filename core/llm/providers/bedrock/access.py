"""Where Bedrock is, and what calls are allowed in with: addresses, regions, API keys, signatures."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from urllib.parse import urlsplit

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.transport.aws_signing import (
    BEARER_VARIABLE,
    AwsCredentials,
    ChainCredentials,
    CredentialSource,
    StaticCredentials,
    find_region,
)


def runtime_url(config: BedrockConfig, region: str) -> str:
    """Where models are called."""
    return config.base_url or f"https://bedrock-runtime.{region}.{_domain(region)}"


def control_url(config: BedrockConfig, region: str) -> str:
    """Where models are listed: beside the runtime, under another name; a proxy is taken to serve both."""
    if config.control_url is not None:
        return config.control_url
    if config.base_url is None:
        return f"https://bedrock.{region}.{_domain(region)}"
    host = urlsplit(config.base_url).hostname or ""
    return config.base_url.replace("bedrock-runtime", "bedrock", 1) if "bedrock-runtime" in host else config.base_url


def region_in(config: BedrockConfig) -> str | None:
    """The region, as far as the configuration itself says: set, or part of the address."""
    if config.region is not None:
        return config.region
    labels = (urlsplit(config.base_url or "").hostname or "").split(".")
    for name, region in pairwise(labels):
        if name in {"bedrock-runtime", "bedrock-runtime-fips"} and "-" in region:
            return region
    return None


async def region_of(config: BedrockConfig, name: str) -> str:
    """The region that calls go to.

    Raises:
        ConfigError: nothing says which.
    """
    region = region_in(config) or await find_region(config.profile)
    if region is None:
        raise ConfigError(
            [
                ConfigIssue(
                    "is not set, and neither AWS_REGION nor the profile names one",
                    f"providers.{name}.region",
                    suggestion="set it to the region of your models, such as us-east-1",
                )
            ]
        )
    return region


def ambient_key(config: BedrockConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The API key of the environment, where the configuration names no credentials of its own."""
    named = config.api_key or config.api_keys or config.access_key_id or config.profile
    return None if named else (os.environ if environ is None else environ).get(BEARER_VARIABLE) or None


def credentials_of(config: BedrockConfig) -> CredentialSource:
    """Where signatures get their credentials from."""
    if config.access_key_id is not None and config.secret_access_key is not None:
        token = config.session_token.get_secret_value() if config.session_token is not None else None
        secret = config.secret_access_key.get_secret_value()
        return StaticCredentials(AwsCredentials(config.access_key_id, secret, token or None))
    return ChainCredentials.of_profile(config.profile)


def check_signer(name: str) -> None:
    """Make sure that calls can be signed.

    Raises:
        ConfigError: botocore is not installed.
    """
    if find_spec("botocore") is None:
        raise ConfigError(
            [
                ConfigIssue(
                    "needs botocore to sign calls with AWS credentials, and it is not installed",
                    f"providers.{name}",
                    suggestion="pip install 'core-llm[bedrock]', or set api_key to an API key for Bedrock",
                )
            ]
        )


def _domain(region: str) -> str:
    partition = region.partition("-")[0]
    return {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}.get(partition, "amazonaws.com")
