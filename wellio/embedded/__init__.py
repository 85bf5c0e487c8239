"""PostgreSQL and Redis as child processes, so that a machine with only Python runs Wellio; for development and tests.

The servers run in the foreground, listen on sockets in a private folder only, and end with the process that started
them, however that ends: Linux signals them, and on macOS a small shell does. As root they run as `nobody`.
"""

from wellio.embedded.errors import EmbeddedError
from wellio.embedded.locks import FolderBusyError, Running
from wellio.embedded.supervisor import Embedded, attach_or_start, start

__all__ = ["Embedded", "EmbeddedError", "FolderBusyError", "Running", "attach_or_start", "start"]
