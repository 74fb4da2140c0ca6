"""The service's log: a line an event, JSON or text, on standard error. No keys, no prompts, no images."""

import json
import logging
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Literal, TextIO

LogFormat = Literal["json", "text"]
MAX_LINES = 10_000
LAST_SECONDS = 1.0
LOGGER = logging.getLogger("mulo_sd.serve")


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, event, and what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """The same for eyes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower()} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class BackgroundHandler(logging.Handler):
    """Writes lines to a stream in a thread of its own: whoever reads them may stall, and the service goes on.

    Lines beyond MAX_LINES that wait are dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        """Begin to write."""
        super().__init__()
        self.stream = stream
        self.lines: queue.Queue[str] = queue.Queue(MAX_LINES)
        threading.Thread(target=self._write, name="mulo-sd-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written."""
        with suppress(queue.Full):
            self.lines.put_nowait(self.format(record))

    def wait(self, seconds: float) -> None:
        """Wait until all lines are written, but no longer than this."""
        ends_at = time.monotonic() + seconds
        while self.lines.unfinished_tasks and time.monotonic() < ends_at:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            line = self.lines.get()
            with suppress(OSError, ValueError):  # nobody reads any more
                self.stream.write(line + "\n")
                self.stream.flush()
            self.lines.task_done()


def flush() -> None:
    """Have what was logged written, as far as somebody reads it."""
    for handler in LOGGER.handlers:
        if isinstance(handler, BackgroundHandler):
            handler.wait(LAST_SECONDS)


def set_up(log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send the service's log, and its server's warnings, to a stream; None is standard error."""
    handler = BackgroundHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    for name, level in (("mulo_sd.serve", logging.INFO), ("uvicorn", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def log(event: str, **fields: Any) -> None:
    """Log an event."""
    LOGGER.info(event, extra={"fields": fields})


def log_failure(error: BaseException, request_id: str) -> None:
    """Log an error that is the service's own, with its traceback."""
    LOGGER.error("failure", exc_info=error, extra={"fields": {"request_id": request_id}})
