"""Finding clients: filters, search, order, and the counts beside the list."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House, make_client
from wellio.accounts.actors import Actor
from wellio.practice.client_counts import sum_counts
from wellio.practice.client_lists import LIST_BY, Sort

BASE = "/api/v1/clients"
FACETS = f"{BASE}/facets"
TAGS = ("vip", "yoga", "100%")


async def fill(api: Api, house: House, count: int = 24) -> None:
    """Clients of every status, coach, band and tag, some of them equal in what they are sorted by."""
    statuses = ("lead", "onboarding", "active", "paused", "churned", "archived", "active")
    for n in range(count):
        coach = (house.coach, house.other_coach, None)[n % 3]
        client_id = await make_client(
            api.db, house.practice, coach=coach, first_name=f"N{n // 2}", last_name=("Ágidius", "Zoe", "müller")[n % 3]
        )
        await api.db.execute(
            "update clients set status = $2, tags = $3,"
            " created_at = timestamptz '2026-01-01' + make_interval(days => $4),"
            " last_activity_at = case when $4 % 4 > 0 then timestamptz '2026-02-01' + make_interval(days => $4 / 2) end"
            " where id = $1",
            client_id, statuses[n % 7], [tag for i, tag in enumerate(TAGS) if n % (i + 2) == 0], n // 2,
        )  # fmt: skip
        if n % 5:
            await api.db.execute(
                "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
                " values ($1, $2, $3, $4, 'ok', 30, now())",
                house.practice.id, client_id, (n % 5) / 5, ("low", "medium", "high")[n % 3],
            )  # fmt: skip


async def listed(api: Api, actor: Actor, **query: str) -> list[Any]:
    page = await api.get(BASE, actor, params={"page_size": "100", **query})
    assert page.body["pagination"]["total"] == len(page.data)
    return list(page.data)


def in_order(clients: Sequence[Any], sort: str) -> list[Any]:
    """Values of the field that they are sorted by, as a plain sort has them: without a prediction at the end, without
    activity where the longest silence is."""
    values = [c[sort.removeprefix("-")] for c in clients]
    known = sorted((v for v in values if v is not None), reverse=sort.startswith("-"))
    unknown = [None] * (len(values) - len(known))
    return unknown + known if sort == "last_activity_at" else known + unknown


@pytest.mark.parametrize("sort", get_args(Sort))
async def test_pages_of_every_order_hold_everybody_once_and_in_order(api: Api, house: House, sort: str) -> None:
    await fill(api, house)
    for query in ({"status": "any"}, {"tag": "vip"}, {"q": "n"}, {"churn_band": "none", "status": "any"}):
        expected = await listed(api, house.owner, **query)
        assert len(expected) > 2
        paged: list[Any] = []
        for page in range(1, len(expected) // 3 + 2):
            params = {"page": str(page), "page_size": "3", "sort": sort, **query}
            paged += (await api.get(BASE, house.owner, params=params)).data
        assert [c["id"] for c in paged] == [c["id"] for c in await listed(api, house.owner, sort=sort, **query)]
        assert sorted(c["id"] for c in paged) == sorted(c["id"] for c in expected)
        if "name" not in sort:
            assert [c[sort.removeprefix("-")] for c in paged] == in_order(expected, sort)


async def test_names_are_sorted_without_case_and_accents(api: Api, house: House) -> None:
    await fill(api, house, 3)
    assert [c["last_name"] for c in await listed(api, house.owner, sort="name")] == [
        "Ágidius", "Client", "Client", "müller", "Zoe",
    ]  # fmt: skip


def test_every_order_has_a_statement_of_its_own() -> None:
    assert set(LIST_BY) == set(get_args(Sort))
    assert len(set(LIST_BY.values())) == len(LIST_BY)


@pytest.mark.parametrize(
    ("query", "keeps"),
    [
        ({}, lambda c: c["status"] != "archived"),
        ({"status": "archived"}, lambda c: c["status"] == "archived"),
        ({"status": "paused"}, lambda c: c["status"] == "paused"),
        ({"tag": "100%"}, lambda c: "100%" in c["tags"]),
        ({"without_coach": "true"}, lambda c: c["coach_id"] is None),
        ({"churn_band": "high"}, lambda c: c["churn_band"] == "high"),
        ({"churn_band": "none"}, lambda c: c["churn_band"] is None),
        ({"created_from": "2026-01-03T00:00:00Z"}, lambda c: c["created_at"] >= "2026-01-03"),
        ({"created_to": "2026-01-03T00:00:00Z"}, lambda c: c["created_at"] < "2026-01-03"),
        (
            {"last_activity_from": "2026-02-02T00:00:00Z", "last_activity_to": "2026-02-05T00:00:00Z"},
            lambda c: "2026-02-02" <= (c["last_activity_at"] or "") < "2026-02-05",
        ),
        ({"tag": "vip", "churn_band": "low"}, lambda c: "vip" in c["tags"] and c["churn_band"] == "low"),
    ],
)  # fmt: skip
async def test_filter_keeps_exactly_those(api: Api, house: House, query: dict[str, str], keeps: Any) -> None:
    await fill(api, house)
    everybody = await listed(api, house.owner, status="any")
    wanted = [c["id"] for c in everybody if keeps(c) and (c["status"] != "archived" or "status" in query)]
    assert [c["id"] for c in await listed(api, house.owner, **query)] == wanted
    assert 0 < len(wanted) < len(everybody)


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("MULLER", True), ("müller jörg", True), ("jorg@", True), ("ller g", True), ("030 1234", False),
        ("4930123", True), ("Müller Ann", False), ("%", False), ("_", False), ("\\", False), ("％", False), ("", True),
    ],
)  # fmt: skip
async def test_search_finds_words_anywhere_without_case_and_accents(
    api: Api, house: House, q: str, found: bool
) -> None:
    new = {"first_name": "Jörg", "last_name": "Mu\u0308ller", "email": "jorg@example.org", "phone": "+49 30 12345"}
    client = (await api.post(BASE, house.coach, json=new)).data
    assert (client["id"] in [c["id"] for c in await listed(api, house.coach, q=q)]) is found


async def test_names_that_folding_makes_long_are_stored(api: Api, house: House) -> None:
    """One character of eighteen, and each of them different, so that nothing is saved by compressing."""
    long = "".join(chr(0xFDFA + n % 2) + chr(0x4E00 + 37 * n) for n in range(100))
    new = {"first_name": long, "last_name": long[::-1]}
    client = (await api.post(BASE, house.coach, json=new)).data
    assert [c["id"] for c in await listed(api, house.coach, q=long)] == [client["id"]]
    assert (await api.post(BASE, house.coach, json=new)).code == "POSSIBLE_DUPLICATE"


async def test_what_is_not_known_is_refused(api: Api, house: House) -> None:
    for query in ({"status": "gone"}, {"churn_band": "huge"}, {"sort": "email"}, {"created_from": "yesterday"}):
        assert (await api.get(BASE, house.owner, params=query)).field_paths == [f"query.{next(iter(query))}"]
    assert (await api.get(BASE, house.owner, params={"q": "a " * 11})).field_paths == ["query.q"]


async def test_client_can_not_ask_what_the_practice_thinks_of_them(api: Api, house: House) -> None:
    await api.db.execute("update clients set tags = '{difficult}' where id = $1", house.client_id)
    for query in ({"tag": "difficult"}, {"churn_band": "high"}):
        assert (await api.get(BASE, house.client, params=query)).field_paths == [f"query.{next(iter(query))}"]
    assert await listed(api, house.client, q="difficult") == []
    assert (await api.get(FACETS, house.client)).status == 403


# ---------------------------------------------------------------- facets

FILTERS = {
    "status": ("", "any", "active", "archived"),
    "tag": ("", *TAGS),
    "coach_id": ("", "coach"),
    "without_coach": ("", "true"),
    "churn_band": ("", "low", "none"),
    "q": ("", "zoe", "n1 agid"),
}


OWN_FILTERS = {
    "status": ["status"],
    "tag": ["tag"],
    "coach": ["coach_id", "without_coach"],
    "churn_band": ["churn_band"],
}


def value_of(client: Any, facet: str) -> Sequence[Any]:
    if facet == "tag":
        return tuple(client["tags"])
    return (client[{"coach": "coach_id", "churn_band": "churn_band", "status": "status"}[facet]] or "none",)


async def check_facets(api: Api, actor: Actor, query: dict[str, str]) -> None:
    """Each facet says what the list says when its own filter is taken away."""
    facets = (await api.get(FACETS, actor, params=query)).data
    for facet, own in OWN_FILTERS.items():
        others = {name: value for name, value in query.items() if name not in own}
        if facet == "status":
            others["status"] = "any"
        counted = Counter(v for client in await listed(api, actor, **others) for v in value_of(client, facet))
        told = {(f["coach_id"] or "none") if facet == "coach" else f["value"]: f["count"] for f in facets[facet]}
        assert told == dict(counted), (facet, query)


async def test_each_facet_counts_what_its_own_filter_leaves_out(api: Api, house: House) -> None:
    await fill(api, house)

    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in FILTERS.items()}))
    def queries(query: dict[str, str]) -> None:
        tried.append({name: value for name, value in query.items() if value})

    tried: list[dict[str, str]] = [{}]
    queries()
    for query in tried:
        if query.get("coach_id") == "coach":
            query["coach_id"] = str(house.other_coach.user_id)
        await check_facets(api, house.owner, query)
    await check_facets(api, house.coach, {"status": "active"})


async def test_facets_name_coaches_and_leave_out_what_nobody_has(api: Api, house: House) -> None:
    facets = (await api.get(FACETS, house.owner)).data
    assert {(c["name"], c["count"]) for c in facets["coach"]} == {("Carl Coach", 1), ("Cora Coach", 1)}
    assert (facets["status"], facets["tag"]) == ([{"value": "active", "count": 2}], [])
    assert (await api.get(FACETS, house.coach)).data["coach"][0]["coach_id"] == str(house.coach.user_id)


# ---------------------------------------------------------------- counts that changes keep


async def check_counts(api: Api) -> None:
    """What changes have added up to is what counting anew finds."""
    kinds = "practice_id, coach_id, status, churn_band, tags"
    kept = f"select {kinds}, sum(clients)::bigint from client_counts group by {kinds} having sum(clients) <> 0"
    anew = f"select {kinds}, count(*) from clients group by {kinds}"
    assert not await api.db.fetch(f"({kept} except {anew}) union all ({anew} except {kept})")
    bands = "from clients c left join predictions p on p.client_id = c.id where c.churn_band is distinct from p.band"
    assert await api.db.fetchval(f"select count(*) {bands}") == 0


STORE_BAND = """
insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)
values ($1, $2, 0.5, $3, 'ok', 30, now())
on conflict on constraint predictions_pkey do update set band = excluded.band
"""


async def test_counts_follow_every_change_and_all_of_them_at_once(api: Api, house: House) -> None:
    await fill(api, house, 12)
    await check_counts(api)
    assert await sum_counts(api.db) > 0
    await check_counts(api)
    ids = [c["id"] for c in await listed(api, house.owner, status="any")]

    async def change(n: int) -> None:
        """At odd times and in crossing order, the same few clients."""
        practice, client_id = house.practice.id, ids[n % 4]
        if n % 3 == 0:
            await api.db.execute(STORE_BAND, practice, client_id, ("low", "medium", "high")[n % 7 % 3])
        elif n % 3 == 1:
            await sum_counts(api.db)
        else:
            await api.db.execute(
                "update clients set status = $2, tags = $3, coach_id = $4 where id = $1",
                client_id, ("active", "paused")[n % 2], list(TAGS[: n % 4]), (None, house.coach.user_id)[n % 5 % 2],
            )  # fmt: skip

    await asyncio.gather(*(change(n) for n in range(40)))
    await check_counts(api)
    await api.db.execute("delete from predictions where client_id = $1", ids[0])
    await api.post(f"{BASE}/bulk", house.owner, json={"client_ids": ids[:6], "action": "archive"})
    await check_counts(api)
    assert await sum_counts(api.db) > 0
    await check_counts(api)
    rows = "select count(*), count(distinct (coach_id, status, churn_band, tags)) from client_counts"
    assert len(set(*await api.db.fetch(rows))) == 1
