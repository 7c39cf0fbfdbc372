"""Rows of numbers that experiments share, so that no row is computed twice: SQLite files in DVC's cache directory.

The name of a file is a key for all that decides its rows besides their sources. A row is found by the digest of its
source, so that it is never taken for that of other bytes; a digest of its own tells whether it was damaged.
"""

import hashlib
import sqlite3
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from src.storage import paths, resume

FOLDER = "features"  # beside `files` and `runs`, the folders of DVC's cache that DVC looks into
TABLE = "CREATE TABLE IF NOT EXISTS rows (source BLOB PRIMARY KEY, row BLOB)"
COST = struct.Struct("<dq")
MOST = 2048  # rows that wait to be written
SUM = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Row:
    """The bytes of a row and what it cost: its share of a batch's seconds, and the peak memory in bytes by then."""

    data: bytes
    seconds: float
    memory: int

    def packed(self, source: bytes) -> bytes:
        """All of it, after a digest of it and its source."""
        content = COST.pack(self.seconds, self.memory) + self.data
        return hashlib.sha256(source + content).digest() + content

    @classmethod
    def unpacked(cls, source: bytes, packed: object) -> "Row | None":
        """The row of such bytes; None if they were damaged."""
        if not isinstance(packed, bytes) or hashlib.sha256(source + packed[SUM:]).digest() != packed[:SUM]:
            return None
        return cls(packed[SUM + COST.size :], *COST.unpack_from(packed, SUM))


def folder() -> Path:
    """The folder of all such files: in the cache of the user's repository, wherever DVC's configuration has it."""
    from dvc.config import Config  # 0.2 seconds; all of DVC takes 0.7

    home = paths.from_root(".dvc").absolute()
    return Path(Config(str(home), validate=False)["cache"].get("dir") or home / "cache") / FOLDER


class RowStore:
    """The rows of one key. If the file cannot be used, a line says so, and the rows are there for this process alone.

    Args:
        path: the file; None for rows that nobody else gets.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.recent: dict[bytes, Row] = {}  # those that are not in the file, or not yet
        self.written = time.monotonic()
        self.full = False
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(path.with_suffix(".lock")) if path else None
            self.connection = self._connect(path or "")  # without a name, SQLite keeps a temporary file
        except (sqlite3.Error, OSError) as error:
            self._tell(error)
            self.lock, self.connection = None, self._connect("")

    def _connect(self, path: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=60)
        connection.text_factory = bytes  # what a damaged file calls text may be none
        try:
            connection.execute(TABLE)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            return self._anew(connection, error)
        return connection

    def _anew(self, connection: sqlite3.Connection, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """A connection to a new file in the place of a damaged one."""
        print(f"{self.path}: damaged ({error}), so its images are embedded again", flush=True)
        connection.close()
        assert self.path is not None
        self.path.unlink(missing_ok=True)
        return self._connect(self.path)

    def _tell(self, error: Exception) -> None:
        print(f"{self.path}: {error}; so other experiments do not get what is embedded here", flush=True)

    def read(self, sources: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of some sources; those that are missing or damaged are left out."""
        result = {source: self.recent[source] for source in sources if source in self.recent}
        try:
            for source in sources:
                for (packed,) in self.connection.execute("SELECT row FROM rows WHERE source = ?", (source,)):
                    if row := Row.unpacked(source, packed):
                        result.setdefault(source, row)
        except sqlite3.OperationalError as error:
            self._tell(error)
        except sqlite3.DatabaseError as error:
            self.connection = self._anew(self.connection, error)
        return result

    def add(self, source: bytes, row: Row) -> None:
        """Take a row, which is in the file after the next `flush`."""
        self.recent[source] = row

    def due(self) -> bool:
        """Whether it is time to write: some seconds after the last time, or when many rows wait in memory."""
        return len(self.recent) >= MOST or time.monotonic() - self.written >= resume.SAVE_EVERY

    def flush(self) -> None:
        """Write the rows that were added, all or none; if the disk is full, a line says so, and they stay in memory."""
        if self.full or not self.recent:
            return
        values = [(source, row.packed(source)) for source, row in self.recent.items()]
        try:
            with self.connection:
                self.connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", values)
            self.recent.clear()
        except sqlite3.OperationalError as error:
            self.full = True
            self._tell(error)
        except sqlite3.DatabaseError as error:
            self.connection = self._anew(self.connection, error)
        self.written = time.monotonic()

    def acquire(self, seconds: float) -> bool:
        """Whether this process is the only one that adds rows, or became so within some seconds."""
        try:
            if self.lock:
                self.lock.acquire(timeout=seconds)
        except Timeout:
            return False
        except OSError as error:
            self._tell(error)
            self.full = True
        return True

    def release(self) -> None:
        """Write what was added, and let others add rows."""
        self.flush()
        if self.lock:
            self.lock.release()
