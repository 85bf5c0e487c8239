"""Pages of a list: `page` from 1, `page_size` up to 100, and the totals that go with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from wellio.db import Database, Row
from wellio.values import Input

T = TypeVar("T")


class PageQuery(Input):
    """The part of a list's query that every list has."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


@dataclass(frozen=True, slots=True)
class Pagination:
    page: int
    page_size: int
    total: int
    total_pages: int
    has_next: bool


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    pagination: Pagination


def page_of(items: Sequence[T], *, query: PageQuery, total: int) -> Page[T]:
    pages = -(-total // query.page_size)
    return Page(items, Pagination(query.page, query.page_size, total, pages, query.page < pages))


async def fetch_page(
    db: Database, query: PageQuery, sql: str, count_sql: str, filters: Sequence[Any], make: Callable[[Row], T]
) -> Page[T]:
    """Both statements take the filters, `sql` also limit and offset after them. They share a connection."""
    async with db.connection() as connection:
        rows = await connection.fetch(sql, *filters, query.page_size, query.offset)
        total = await connection.fetchval(count_sql, *filters)
    return page_of([make(row) for row in rows], query=query, total=total)
