"""Identifiers: of version 7, of now, and in the order in which they were made."""

import time

from wellio.ids import uuid7


def test_ids_are_in_the_order_in_which_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    made_at = [each.int >> 80 for each in ids]
    assert before <= made_at[0]
    assert made_at[-1] <= after
