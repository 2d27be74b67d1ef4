"""OKX's public REST interface through `okx-sdk`, which is synchronous and is kept to a small thread pool."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from data.errors import BadDataError, RateLimited, TransientError, VenueUnreachable
from data.exchanges.base import RestRequest

_NAME = "okx"
_OK = "0"
# Source: OKX API guide, "Error code": too many requests, system busy, order rate.
_RATE_CODES = frozenset({"50011", "50013", "50061"})
# Service unavailable, endpoint timeout, system error.
_TRANSIENT_CODES = frozenset({"50001", "50004", "50026"})


class OkxTransport:
    """Sends an adapter's GET requests by the SDK's own request method.

    The SDK ignores the HTTP status, so a reply is judged by the `code` in its body.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="okx-rest")
        self._client: Any = None  # made in the pool: it takes most of a second

    async def get(self, request: RestRequest) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, request)

    async def close(self) -> None:
        """Wait for the requests under way and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._client is not None:
            self._client.close()

    def _get(self, request: RestRequest) -> object:
        if self._client is None:
            self._client = _market_data_client(self._base_url)
        try:
            reply = self._client._request("GET", request.path, dict(request.params))
        except httpx.HTTPError as error:
            raise VenueUnreachable(_NAME, self._base_url, str(error) or type(error).__name__) from error
        except json.JSONDecodeError as error:
            raise VenueUnreachable(_NAME, self._base_url, "its answer is no JSON") from error
        if not isinstance(reply, dict):
            raise BadDataError(f"{_NAME} answered {request.path} with {str(reply)[:200]}")
        code, message = str(reply.get("code", _OK)), str(reply.get("msg", ""))
        if code in _RATE_CODES:
            raise RateLimited(_NAME)
        if code in _TRANSIENT_CODES:
            raise TransientError(f"{_NAME} cannot answer {request.path} now: {code} {message}")
        if code != _OK:
            raise BadDataError(f"{_NAME} refuses {request.path}: {code} {message}")
        return reply


def _market_data_client(base_url: str) -> Any:
    """The SDK's client for market data; its paths and `_request` serve every public path.

    Imported here because importing it gives the root logger a handler and a level, which are taken back.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from okx import MarketDataClient

    root.handlers[:] = handlers
    root.setLevel(level)
    return MarketDataClient(domain=base_url)
