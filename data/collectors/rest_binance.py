"""Binance's public REST interface through `python-binance`."""

from __future__ import annotations

import warnings

import aiohttp

from data.errors import BadDataError, RateLimited, VenueUnreachable
from data.exchanges.base import RestRequest

with warnings.catch_warnings():
    # It imports the legacy classes of `websockets`, which announce their end.
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException, BinanceRequestException

_NAME = "binance"
_VERSION = "v3"
_TIMEOUT_S = 15.0
_BANNED = 418
_RATE_STATUSES = frozenset({_BANNED, 429})


class BinanceTransport:
    """Sends an adapter's GET requests by the SDK's own request method: spot's, or that of USD-M futures."""

    def __init__(self, base_url: str, *, futures: bool = False) -> None:
        self._base_url, self._futures = base_url, futures
        self._client: AsyncClient | None = None

    async def get(self, request: RestRequest) -> object:
        if self._client is None:
            self._client = _client(self._base_url)
        try:
            reply: object = await self._send(self._client, request)
        except BinanceAPIException as error:
            if error.status_code in _RATE_STATUSES:
                banned = error.status_code == _BANNED
                raise RateLimited(_NAME, _retry_after_s(error), banned=banned) from error
            if error.status_code >= 500:
                raise VenueUnreachable(
                    _NAME, self._base_url, f"it answers with HTTP status {error.status_code}"
                ) from error
            raise BadDataError(f"{_NAME} refuses {request.path}: {error.code} {error.message}") from error
        except BinanceRequestException as error:
            raise VenueUnreachable(_NAME, self._base_url, "its answer is no JSON") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise VenueUnreachable(_NAME, self._base_url, str(error) or type(error).__name__) from error
        return reply

    async def _send(self, client: AsyncClient, request: RestRequest) -> object:
        params = dict(request.params)
        if self._futures:
            reply: object = await client._request_futures_api("get", request.path, data=params)
        else:
            reply = await client._request_api(
                "get", request.path, signed=False, version=_VERSION, data=params
            )
        return reply

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close_connection()


def _client(base_url: str) -> AsyncClient:
    class _Client(AsyncClient):  # type: ignore[misc]  # the SDK has no types
        # The addresses are class attributes; an argument reaches only some of them.
        API_URL = f"{base_url.rstrip('/')}/api"
        FUTURES_URL = f"{base_url.rstrip('/')}/fapi"

    return _Client(session_params={"timeout": aiohttp.ClientTimeout(total=_TIMEOUT_S)})


def _retry_after_s(error: BinanceAPIException) -> float | None:
    text = error.response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
