"""Passwords that are guessed first: common ones, variations of them, keyboard walks, and words known of their user.

`wellio/data/common_passwords.txt` lists words rather than passwords, because people vary few words by the same few
rules, and crackers know them: a year or an exclamation mark at the end, 0 for o, twice the same, two in a row.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise

from wellio.config import ROOT

WORDS_FILE = ROOT / "wellio" / "data" / "common_passwords.txt"
# So many common words in a row are no better than one; three random ones are.
MAX_WORDS = 2
# Digits and signs that vary a word rather than add to it.
MAX_SUFFIX = 4
# What is left without the words known of a user must be this long.
MIN_REST = 8
MIN_KNOWN_WORD = 4
LONGEST_CHECKED = 64
OLD_LENGTH = 8
MIN_WALK, MIN_PERIODS = 3, 2

_LEET = (str.maketrans("0134578@$!", "oieastbasi"), str.maketrans("0134578@$!", "oleastbasl"))
_ROWS = (
    "1234567890", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn",
    "abcdefghijklmnopqrstuvwxyz", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "147258369", "159753", "741852963", "789456123", "123654789",
    "0123456789", "112233445566778899", "aabbccddeeff", "246813579", "135792468",
)  # fmt: skip
_WALKS = (*_ROWS, *(row[::-1] for row in _ROWS))
_DATE = re.compile(r"(19|20)\d\d(0\d|1[0-2])[0-3]\d|[0-3]\d(0\d|1[0-2])(19|20)\d\d")


@cache
def common_words() -> frozenset[str]:
    """Reads the list, once for the process. A file is read: not on the event loop."""
    words = WORDS_FILE.read_text().split()
    # Old systems kept eight characters, and so do the lists of what was stolen from them.
    return frozenset(words) | {word[:OLD_LENGTH] for word in words}


def is_guessed_first(password: str, known: Iterable[str] = ()) -> bool:
    """`known` is what is known of the user and the place: names, parts of the address."""
    text = _folded(password)
    known_words = frozenset(_known_words(known))
    return _is_little_more_than(known_words, text) or any(
        _is_common(variant, known_words) for variant in _variants(text)
    )


def _folded(text: str) -> str:
    """Without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _known_words(known: Iterable[str]) -> Iterator[str]:
    for text in map(_folded, known):
        words = (*re.findall(r"[^\W\d_]+", text), re.sub(r"\W", "", text))
        yield from (word for word in words if len(word) >= MIN_KNOWN_WORD)


def _is_little_more_than(known: frozenset[str], text: str) -> bool:
    rest = text
    for word in sorted(known, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != text and sum(c.isalpha() for c in rest) < MIN_REST


def _variants(text: str) -> Iterator[str]:
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)
    yield from {text, core, *(core.translate(leet) for leet in _LEET)}


def _is_common(text: str, known: frozenset[str]) -> bool:
    unit = _unit(text)
    if len(unit) < len(text) and (len(unit) <= MAX_SUFFIX or _is_common(unit, known)):
        return True
    return 0 < len(unit) <= LONGEST_CHECKED and _words_in(unit, common_words() | known) <= MAX_WORDS


def _unit(text: str) -> str:
    """What `text` repeats: `abc` of `abcabcab`; all of it when it repeats nothing."""
    for size in range(1, len(text) // MIN_PERIODS + 1):
        unit = text[:size]
        if (unit * (len(text) // size + 1)).startswith(text):
            return unit
    return text


def _words_in(text: str, words: frozenset[str]) -> int:
    """The fewest words, walks and dates that make up `text`, with suffixes between; more than MAX_WORDS if none do."""
    fewest = [0] + [MAX_WORDS + 1] * len(text)
    longest = max(map(len, words))
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end):
            if fewest[start] <= MAX_WORDS:
                fewest[end] = min(fewest[end], fewest[start] + _cost(text[start:end], words))
    return fewest[-1]


def _cost(part: str, words: frozenset[str]) -> int:
    if len(part) <= MAX_SUFFIX and not any(c.isalpha() for c in part):
        return 0
    common = part in words or _is_walk(part) or _DATE.fullmatch(part) or len(set(part)) == 1
    return 1 if common else MAX_WORDS + 1


def _is_walk(part: str) -> bool:
    if len(part) < MIN_WALK:
        return False
    steps = {ord(b) - ord(a) for a, b in pairwise(part)}
    return (len(steps) == 1 and steps <= {-1, 0, 1}) or any(part in walk for walk in _WALKS)
