"""Logs are events with fields, one a line, on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(level: str = "INFO", *, process: str) -> None:
    """Send structlog's events, and the libraries' own, to standard error; `process` names the sender."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    # Libraries configure the root logger when imported (okx-sdk does); `force` puts ours back.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
