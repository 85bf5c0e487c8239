"""What a file is, by its bytes and never by what its sender says; and what it may be called."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import puremagic

from wellio.errors import UnsupportedMedia

MIB = 1024 * 1024
MAX_IMAGE_BYTES, MAX_DOCUMENT_BYTES = 10 * MIB, 25 * MIB
# Of a file's beginning and end, what tells its type.
HEAD_BYTES, TAIL_BYTES = 4096, 64 * 1024
MAX_NAME = 150

ZIP = b"PK\x03\x04"
OFFICE = "application/vnd.openxmlformats-officedocument."
# All that is taken. Nothing of it is run by a browser: no HTML, SVG or script.
EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/heif": (".heic", ".heif"),
    "application/pdf": (".pdf",),
    f"{OFFICE}wordprocessingml.document": (".docx",),
    f"{OFFICE}spreadsheetml.sheet": (".xlsx",),
    f"{OFFICE}presentationml.presentation": (".pptx",),
}
# What an Office Open XML package (ECMA-376) has in its directory, which stands at its end.
OFFICE_PARTS: Mapping[bytes, str] = {
    b"word/document.xml": f"{OFFICE}wordprocessingml.document",
    b"xl/workbook.xml": f"{OFFICE}spreadsheetml.sheet",
    b"ppt/presentation.xml": f"{OFFICE}presentationml.presentation",
}
MACROS = b"vbaProject.bin"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the first bytes tell. `content_type` is None for a package, whose type its end tells."""

    content_type: str | None
    max_bytes: int


def look_at_beginning(head: bytes) -> Beginning:
    """Raises UnsupportedMedia."""
    if head.startswith(ZIP):
        return Beginning(None, MAX_DOCUMENT_BYTES)
    content_type = _type_by_magic(head)
    if content_type is None:
        raise _refusal()
    return Beginning(content_type, MAX_IMAGE_BYTES if content_type.startswith("image/") else MAX_DOCUMENT_BYTES)


def type_of(beginning: Beginning, tail: bytes) -> str:
    """Raises UnsupportedMedia."""
    if beginning.content_type is not None:
        return beginning.content_type
    types = [name for part, name in OFFICE_PARTS.items() if part in tail]
    if len(types) != 1 or MACROS in tail:
        raise _refusal()
    return types[0]


def clean_name(name: str, content_type: str) -> str:
    """The last part of a path, without what can't be seen, and with an extension of its type: by that, a computer
    decides what to do with a file that was saved."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    seen = "".join(c for c in last if not unicodedata.category(c).startswith("C")).strip(" .")
    extensions = EXTENSIONS[content_type]
    stem, extension = (seen or "file"), PurePosixPath(seen).suffix
    if extension.lower() in extensions:
        return stem[: -len(extension)][:MAX_NAME] + extension
    return stem[:MAX_NAME] + extensions[0]


def _type_by_magic(head: bytes) -> str | None:
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return None
    # Of signatures that fit equally well, one that is taken; a better one that is not taken decides.
    best = {match.mime_type for match in found if match.confidence == found[0].confidence}
    return next((name for name in EXTENSIONS if name in best), None)


def _refusal() -> UnsupportedMedia:
    return UnsupportedMedia("Send a picture (JPEG, PNG, GIF, WebP, HEIC), a PDF, or a document (docx, xlsx, pptx).")
