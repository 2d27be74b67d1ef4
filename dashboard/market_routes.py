"""The addresses under which the browser reads the Market page's data."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response

from data.errors import InvalidInput, TradingError

log = structlog.get_logger(__name__)

Reader = Callable[[Mapping[str, Any]], Any]

_WORTH_PACKING = 20_000  # bytes; less is sooner sent than packed
_LONGEST_CHANGE = 40_000  # bytes


def add_reader(server: FastAPI, path: str, read: Reader) -> None:
    """Answer GET requests of that path with what `read` makes of the query, read in a thread.

    What went wrong stands in `error`, a sentence: bad input with status 400, a store that cannot be read with
    the number under which the log has the details.
    """

    @server.get(path)
    async def answer(request: Request) -> Response:
        query = dict(request.query_params)
        packed = "gzip" in request.headers.get("accept-encoding", "")
        try:
            body, encoding = await asyncio.to_thread(_encoded, read, query, packed)
        except InvalidInput as error:
            return _json(orjson.dumps({"error": str(error)}), status=400)
        except TradingError as error:
            number = secrets.token_hex(4)
            log.warning("page_data_failed", path=path, why=str(error), number=number)
            # Said in the panel. The browser would log any other status as an error of the page.
            return _json(orjson.dumps({"error": str(error), "number": number}))
        return _json(body, encoding=encoding)


def add_changer(server: FastAPI, path: str, change: Callable[[bytes], Any]) -> None:
    """Let POST requests of that path change something; answers and errors are those of `add_reader`."""

    @server.post(path)
    async def answer(request: Request) -> Response:
        text = b""
        async for part in request.stream():
            text += part
            if len(text) > _LONGEST_CHANGE:
                return _json(orjson.dumps({"error": "This is too much to save."}), status=413)
        try:
            return _json(orjson.dumps(await asyncio.to_thread(change, text)))
        except InvalidInput as error:
            return _json(orjson.dumps({"error": str(error)}), status=400)
        except TradingError as error:
            number = secrets.token_hex(4)
            log.warning("page_data_not_changed", path=path, why=str(error), number=number)
            return _json(orjson.dumps({"error": str(error), "number": number}))


def _encoded(read: Reader, query: Mapping[str, Any], packed: bool) -> tuple[bytes, str]:
    text = orjson.dumps(read(query), option=orjson.OPT_SERIALIZE_NUMPY)
    if packed and len(text) >= _WORTH_PACKING:
        return gzip.compress(text, compresslevel=1), "gzip"
    return text, ""


def _json(body: bytes, *, status: int = 200, encoding: str = "") -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(body, status, headers, media_type="application/json")
