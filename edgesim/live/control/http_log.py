"""What aiohttp logs of the control API's requests: one line for what a client has done wrong, tracebacks for faults of ours."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

_LOG: Final = logging.getLogger(__name__)


class _OneLine(logging.Filter):
    """Leaves no traceback to a request that could not be parsed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Reword the record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = (
                "a malformed request was refused: %s",
                (error.message.split("\n", 1)[0].rstrip(":"),),
            )
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


_LOG.addFilter(_OneLine())


def http_log() -> logging.Logger:
    """For `web.AppRunner`."""
    return _LOG
