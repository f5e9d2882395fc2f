"""What was sent in confidence stays between us and the server, whichever endpoint it was sent to."""

import pytest

from core.llm.common.exceptions import ProviderError


async def test_no_key_shows_in_what_the_server_refuses(make, server):
    """Whoever asks: a proxy in front of it quotes the credentials that it does not take."""
    key, ticket = "plain0words1of2mine3", "ticket4of5the6proxy7"
    provider = await make(api_key=key, headers={"x-ticket": ticket})
    for path in ("/api/ps", "/api/version"):
        server.fail(path, 403, f"who are you, {key} with {ticket}?")
    with pytest.raises(ProviderError) as caught:
        await provider.model_status("tiny")
    detail = (await provider.health_check()).detail
    for text in (detail, str(caught.value)):
        assert "who are you" in text
        assert key not in text
        assert ticket not in text
