"""Access tokens of any vendor: fetched once for all, renewed before they end, and not in a rush after a failure.

The libraries of vendors block, reading files and asking metadata servers included, so they run in a thread. However
many calls need a token, one of them fetches it.
"""

import asyncio
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError

_EARLY: Final = 225.0
"""Seconds before its end at which a token is replaced: half of them are enough for the slowest answer to begin."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_LIFETIME: Final = 3600.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """One token."""

    value: str
    expires_at: float
    """On the monotonic clock."""
    quota_project: str | None = None
    """The project that is charged with the requests, where it is not the one they are sent to."""

    def __repr__(self) -> str:
        """Without the token."""
        return f"AccessToken(expires_at={self.expires_at})"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as a vendor's library hands it out."""

    value: str = field(repr=False)
    expires_at: datetime | None
    """With its time zone; `None`: the vendor did not say."""
    quota_project: str | None = None


Issue = Callable[[], IssuedToken]
"""Fetches a token that is not the last one; blocks."""
Explain = Callable[[Exception], ProviderError]
"""What a failure of the vendor's library means, in words that hold none of its own."""


class AccessTokens:
    """The tokens of one identity, fetched when they are needed and shared by every call."""

    def __init__(self, clock: Clock, issue: Issue, explain: Explain) -> None:
        self._clock = clock
        self._issue = issue
        self._explain = explain
        self._token: AccessToken | None = None
        self._fetching: asyncio.Task[AccessToken] | None = None
        self._failure: ProviderError | None = None
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE

    async def token(self) -> AccessToken:
        """A token that is good for a while.

        Raises:
            ProviderError: `authentication`: there are no credentials, or they are refused. The next try to get one is
                made after a pause that doubles up to a minute; until then everybody gets the same error at once.
        """
        token = self._token
        if token is not None and self._clock.monotonic() < token.expires_at - _EARLY:
            return token
        try:
            return await self._fetch()
        except ProviderError:
            if token is not None and self._token is token and self._clock.monotonic() < token.expires_at:
                return token
            raise

    async def renew(self, refused: AccessToken) -> AccessToken:
        """A token other than *refused*, which was valid by its dates and was not accepted."""
        token = self._token
        if token is not None and token.value != refused.value:
            return token
        self._token = None
        return await self._fetch()

    async def close(self) -> None:
        """Stop fetching. A thread that is waiting for the vendor ends by itself."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _fetch(self) -> AccessToken:
        if self._fetching is None:
            if self._failure is not None and self._clock.monotonic() < self._not_before:
                raise copy(self._failure)
            self._fetching = asyncio.get_running_loop().create_task(self._refresh(), name="access token")
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        try:
            # The caller may be cancelled; the token is still wanted by the others.
            return await asyncio.shield(fetching)
        except ProviderError as error:
            # One error raised by many waiters would collect all their tracebacks.
            failure = copy(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not fetching.cancelled() or (task is not None and task.cancelling()):
                raise
            failure = ProviderError("cancelled", "no token: the provider is closing", code="stopped")
        raise failure

    def _fetched(self, task: "asyncio.Task[AccessToken]") -> None:
        if self._fetching is task:
            self._fetching = None
        if not task.cancelled():
            # Marks the error as seen, also where every caller has gone.
            task.exception()

    async def _refresh(self) -> AccessToken:
        try:
            self._token = await asyncio.to_thread(self._issue_in_thread)
        except ProviderError as error:
            self._failure = error
            self._not_before = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            raise
        self._failure, self._pause = None, _FIRST_PAUSE
        return self._token

    def _issue_in_thread(self) -> AccessToken:
        failure: ProviderError | None = None
        try:
            issued = self._issue()
        except ProviderError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a vendor's library and what lies below it raise of every kind
            failure = self._explain(error)
        if failure is not None:
            # Raised out here: their texts may hold parts of a key, and must not hang on ours as a context.
            raise failure
        expiry = issued.expires_at
        lifetime = (expiry - self._clock.now()).total_seconds() if expiry else _LIFETIME
        return AccessToken(issued.value, self._clock.monotonic() + lifetime, issued.quota_project)
