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
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MAGIC = b"WLCHURN\0"
VERSION = 1
_PREFIX = struct.Struct("<8sII")
_DIGEST = 32

Array = NDArray[Any]


class SnapshotDamaged(Exception):
    """The bytes are not a snapshot, or not a whole one."""


class SnapshotVersion(Exception):
    """A sound snapshot of another version or layout: rebuild from the first fact."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    listed = [[name, _dtype_name(array.dtype), array.shape] for name, array in arrays.items()]
    head = orjson.dumps({**header, "arrays": listed}, option=orjson.OPT_SORT_KEYS)
    parts = [_PREFIX.pack(MAGIC, VERSION, len(head)), head, *[_view(array) for array in arrays.values()]]
    return b"".join([*parts, _digest(parts)])


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
    if _digest([body]) != data[-_DIGEST:]:
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


def _view(array: Array) -> bytes | memoryview:
    """An array's bytes without a copy; memoryview refuses to cast an empty one."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.descr) if dtype.fields else dtype.str


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()
