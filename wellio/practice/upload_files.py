"""Where uploaded files lie: on the disk, each under its upload's id. Written and removed off the event loop."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from wellio.practice.file_types import TAIL_BYTES


@dataclass(frozen=True, slots=True)
class Written:
    size_bytes: int
    sha256: bytes
    tail: bytes


class UploadFiles:
    """Processes that serve the same uploads share `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, upload_id: UUID) -> Path:
        name = str(upload_id)
        return self._folder / name[-2:] / name

    async def write(self, upload_id: UUID, chunks: AsyncIterator[bytes]) -> Written:
        """Returns when the disk has it. What is left of a failure is for `remove`."""
        digest, size, tail = sha256(), 0, b""
        file = await asyncio.to_thread(_create, self.path(upload_id))
        try:
            async for chunk in chunks:
                await asyncio.to_thread(_append, file, digest.update, chunk)
                size += len(chunk)
                tail = (tail + chunk)[-TAIL_BYTES:]
            await asyncio.to_thread(_sync, file)
        finally:
            await asyncio.to_thread(file.close)
        return Written(size, digest.digest(), tail)

    async def remove(self, upload_ids: Sequence[UUID]) -> None:
        """Of those that are there."""
        await asyncio.to_thread(_remove, [self.path(upload_id) for upload_id in upload_ids])


def uploads_in(data_dir: Path) -> UploadFiles:
    return UploadFiles(data_dir / "uploads")


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _append(file: BinaryIO, update: Callable[[bytes], None], chunk: bytes) -> None:
    update(chunk)
    file.write(chunk)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
