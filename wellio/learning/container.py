"""A snapshot's bytes: magic, version, a JSON header, arrays in little-endian order, and a checksum over it all.

No pickle: reading it can run no code. The same state gives the same bytes. Layout (integers little-endian):

    8 bytes  magic "WLCHURN\\0"
    4 bytes  version
    4 bytes  length of the header
    header   JSON with sorted keys; "arrays" lists [name, dtype, shape] in the order of the data
    data     each array's bytes, one after another
    32 bytes blake2b of everything before
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MAGIC = b"WLCHURN\0"
VERSION = 5
_PREFIX = struct.Struct("<8sII")
_DIGEST = 32
_PIECE = 1 << 20

Array = NDArray[Any]


class SnapshotDamaged(Exception):
    """The bytes are not a snapshot, or not a whole one."""


class SnapshotVersion(Exception):
    """A sound snapshot of another version or layout: rebuild from the first fact."""


def pieces(header: Mapping[str, Any], arrays: Mapping[str, Sequence[Array]]) -> Iterator[bytes | memoryview]:
    """The bytes in pieces of at most a megabyte; each array is given as parts [n_i, ...], to be read as one [n, ...].

    The array must be named even if it has no rows: give an empty part of its shape.
    """
    listed = [
        [name, _dtype_name(parts[0].dtype), [sum(map(len, parts)), *parts[0].shape[1:]]]
        for name, parts in arrays.items()
    ]
    head = orjson.dumps({**header, "arrays": listed}, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(digest_size=_DIGEST)
    start: list[bytes | memoryview] = [_PREFIX.pack(MAGIC, VERSION, len(head)), head]
    for piece in chain(start, _cut(chain.from_iterable(arrays.values()))):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _cut(arrays: Iterable[Array]) -> Iterator[memoryview]:
    for array in arrays:
        if array.size:  # a memoryview of nothing cannot be cast
            view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            yield from (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))


def unpack(data: bytes, dtypes: Mapping[str, np.dtype[Any]]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and writable copies of the arrays, which must be those of `dtypes`.

    Raises SnapshotDamaged, SnapshotVersion.
    """
    if len(data) < _PREFIX.size + _DIGEST:
        raise SnapshotDamaged("Too short")
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise SnapshotDamaged("Not a snapshot")
    body = memoryview(data)[:-_DIGEST]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[-_DIGEST:]:
        raise SnapshotDamaged("The checksum does not match")
    if version != VERSION:
        raise SnapshotVersion(f"Version {version}, not {VERSION}")
    header: dict[str, Any] = orjson.loads(body[_PREFIX.size : _PREFIX.size + length])
    if [(name, dtype) for name, dtype, _ in header["arrays"]] != [(k, _dtype_name(d)) for k, d in dtypes.items()]:
        raise SnapshotVersion("Another layout of arrays")
    return header, _read_arrays(body[_PREFIX.size + length :], header["arrays"], dtypes)


def _read_arrays(
    data: memoryview, listed: Iterable[tuple[str, str, list[int]]], dtypes: Mapping[str, np.dtype[Any]]
) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    start = 0
    for name, _, shape in listed:
        dtype = dtypes[name]
        end = start + math.prod(shape) * dtype.itemsize
        if end > len(data):
            raise SnapshotDamaged("Arrays are cut off")
        arrays[name] = np.frombuffer(data[start:end], dtype).reshape(shape).copy()
        start = end
    if start != len(data):
        raise SnapshotDamaged("More data than arrays")
    return arrays


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.descr) if dtype.fields else dtype.str
