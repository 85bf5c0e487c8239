"""What any batch of messages comes to: numbers without holes, order, repeats, permissions; against a model."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.chat.conftest import Chat
from wellio.accounts.actors import Actor
from wellio.chat.batches import Stored, Waiting, store_at_once, store_locked
from wellio.chat.conversations import ConversationChanges, change_conversation
from wellio.chat.messages import MessageWriter, NewMessage, Sent, is_plain
from wellio.errors import Forbidden, Invalid, NotFound, TooMany
from wellio.live import Live
from wellio.metrics import Metrics

SENDERS = ("owner", "coach", "client", "other_coach")
PLACES = (0, 1, 2, None)  # three conversations, and one that does not exist


@dataclass(frozen=True)
class Attempt:
    """A message of a batch: who, where, under which of a few names, and whether it replies to nothing; which of a few
    uploads it carries, each of one sender, and whether it names everybody."""

    sender: str
    place: int | None
    name: int
    bad_reply: bool
    uploads: tuple[int, ...] = ()
    names_all: bool = False


attempts = st.builds(
    Attempt,
    st.sampled_from(SENDERS),
    st.sampled_from(PLACES),
    st.integers(0, 4),
    st.sampled_from((False, False, True)),
    st.sampled_from(((), (), (0,), (1,), (0, 4), (2, 6))),  # the fourth and on are the same senders' again
    st.sampled_from((False, False, True)),
)
members = st.tuples(*[st.sets(st.sampled_from(SENDERS))] * 3)
# Of each conversation: as it is meant to be, in slow mode, or with a block.
modes = st.tuples(*[st.sampled_from(("", "", "slow", "blocked"))] * 3)


class Model:
    """What must come of it, in a dozen lines."""

    def __init__(self, members: tuple[set[str], ...], modes: tuple[str, ...]) -> None:
        self._members, self._modes = members, modes
        self.bodies: list[list[str]] = [[], [], []]
        self.mentions: list[tuple[int, int, str]] = []  # place, seq and who
        self.attached: dict[int, tuple[int, int]] = {}
        self._stored: dict[tuple[str, int, int], int] = {}

    def send(self, attempt: Attempt, body: str) -> Any:
        if attempt.place is None or attempt.sender not in self._members[attempt.place]:
            return NotFound
        key = (attempt.sender, attempt.place, attempt.name)
        if key in self._stored:
            return (self._stored[key], True)
        if attempt.bad_reply or any(
            SENDERS[upload % 4] != attempt.sender or upload in self.attached for upload in attempt.uploads
        ):
            return Invalid
        mode = self._modes[attempt.place]
        if mode == "blocked":
            return Forbidden
        sent_before = any(stored[:2] == key[:2] for stored in self._stored)
        if mode == "slow" and attempt.sender == "client" and sent_before:
            return TooMany
        self.bodies[attempt.place].append(body)
        self._stored[key] = seq = len(self.bodies[attempt.place])
        self.attached |= dict.fromkeys(attempt.uploads, (attempt.place, seq))
        if attempt.names_all:
            others = self._members[attempt.place] - {attempt.sender}
            self.mentions += [(attempt.place, seq, name) for name in others]
        return (self._stored[key], False)


Storing = Callable[[Chat, list[Waiting]], Coroutine[Any, Any, Stored]]


async def at_once(chat: Chat, batch: list[Waiting]) -> Stored:
    """As MessageWriter does it: what is left over is stored the other way."""
    if not is_plain(batch):
        return await locked(chat, batch)
    async with chat.db.connection() as connection:
        stored = await store_at_once(connection, batch)
    rest = [waiting for waiting in batch if waiting not in stored.outcomes]
    return stored | await locked(chat, rest) if rest else stored


async def locked(chat: Chat, batch: list[Waiting]) -> Stored:
    async with chat.outbox.transaction() as tx:
        return await store_locked(tx, batch)


@pytest.mark.parametrize("store", [at_once, locked])
@given(members=members, modes=modes, batches=st.lists(st.lists(attempts, max_size=12), max_size=3))
@example(
    members=(set(), set(), {"owner"}),
    modes=("", "", ""),
    batches=[[Attempt("owner", 2, 2, True), Attempt("owner", 2, 2, False), Attempt("owner", 2, 0, False)]],
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_batches_come_to_what_the_model_says(
    chat: Chat, store: Storing, members: tuple[set[str], ...], modes: tuple[str, ...], batches: list[list[Attempt]]
) -> None:
    places = [await open_group(chat, names, mode) for names, mode in zip(members, modes, strict=True)]
    names = {(place, name): uuid4() for place in PLACES for name in range(5)}
    uploads = [await make_upload(chat, getattr(chat.house, SENDERS[n % 4])) for n in range(8)]
    everybody = "".join(f"<@{getattr(chat.house, name).user_id}>" for name in SENDERS)
    model, number, nowhere = Model(members, modes), 0, uuid4()
    for attempted in batches:
        batch, expected = [], []
        for attempt in attempted:
            number += 1
            new = NewMessage(
                conversation_id=nowhere if attempt.place is None else places[attempt.place],
                client_message_id=names[attempt.place, attempt.name],
                body=(body := f"{number}{everybody if attempt.names_all else ''}"),
                reply_to=uuid4() if attempt.bad_reply else None,
                upload_ids=tuple(uploads[n] for n in attempt.uploads),
            )
            actor: Actor = getattr(chat.house, attempt.sender)
            batch.append(Waiting(actor, new, None, asyncio.get_running_loop().create_future()))
            expected.append(model.send(attempt, body))
        stored = await store(chat, batch)
        assert [plain(stored.outcomes[waiting]) for waiting in batch] == expected
        assert_carried(batch, stored)
        assert_told(chat, stored, places, members)
    assert [await chat.bodies(place) for place in places] == model.bodies
    people = {getattr(chat.house, name).user_id: name for name in SENDERS}
    mentions = await chat.db.fetch("select conversation_id, seq, user_id from message_mentions")
    found = [(places.index(r[0]), r[1], people[r[2]]) for r in mentions if r[0] in places]
    assert sorted(found) == sorted(model.mentions)
    links = await chat.db.fetch(
        "select u.id, m.conversation_id, m.seq from uploads u join messages m on m.id = u.message_id"
    )
    attached = {uploads.index(r[0]): (places.index(r[1]), r[2]) for r in links if r[0] in uploads}
    assert attached == model.attached


def plain(outcome: Any) -> Any:
    return (outcome.message.seq, outcome.duplicate) if isinstance(outcome, Sent) else type(outcome)


def assert_carried(batch: list[Waiting], stored: Stored) -> None:
    """Who sends a new message is answered with its files."""
    for waiting in batch:
        outcome = stored.outcomes[waiting]
        if isinstance(outcome, Sent) and not outcome.duplicate:
            assert tuple(a.id for a in outcome.message.attachments) == waiting.new.upload_ids


def assert_told(chat: Chat, stored: Stored, places: list[UUID], members: tuple[set[str], ...]) -> None:
    """New messages, in the order of their seqs, each to exactly the members of its conversation."""
    fresh = {o.message.id for o in stored.outcomes.values() if isinstance(o, Sent) and not o.duplicate}
    assert {m.id for m in stored.messages} == fresh
    for place, names in zip(places, members, strict=True):
        seqs = [m.seq for m in stored.messages if m.conversation_id == place]
        assert seqs == sorted(seqs)
        if seqs:
            assert set(stored.audiences[place]) == {getattr(chat.house, name).user_id for name in names}


async def open_group(chat: Chat, names: set[str], mode: str = "") -> UUID:
    group = uuid4()
    practice, owner = chat.house.practice.id, chat.house.owner.user_id
    await chat.db.execute(
        "insert into conversations (id, practice_id, kind, created_by, slow_mode_s, blocked_by)"
        " values ($1, $2, 'group', $3, $4, $5)",
        group, practice, owner, 3600 if mode == "slow" else 0, [owner] if mode == "blocked" else [],
    )  # fmt: skip
    await chat.db.execute(
        "insert into conversation_members (practice_id, conversation_id, user_id) select $1, $2, unnest($3::uuid[])",
        practice, group, [getattr(chat.house, name).user_id for name in names],
    )  # fmt: skip
    return group


async def make_upload(chat: Chat, actor: Actor, name: str = "plan.pdf") -> UUID:
    """One that is ready, without its file."""
    upload_id = uuid4()
    await chat.db.execute(
        "insert into uploads (id, practice_id, uploader_id, state, name, content_type, size_bytes, sha256)"
        " values ($1, $2, $3, 'ready', $4, 'application/pdf', 3, '\\xabcd')",
        upload_id, actor.practice_id, actor.user_id, name,
    )  # fmt: skip
    return upload_id


async def test_two_processes_number_one_conversation_together(chat: Chat) -> None:
    other = MessageWriter(chat.outbox, Live(), Metrics())
    await other.start()
    direct = await chat.open(chat.house.coach, chat.house.client)

    async def write(writer: MessageWriter, actor: Actor, count: int) -> list[int]:
        new = [NewMessage(conversation_id=direct.id, client_message_id=uuid4(), body="x") for _ in range(count)]
        return [s.message.seq for s in await asyncio.gather(*(writer.send(actor, n) for n in new))]

    try:
        seqs = await asyncio.gather(write(chat.writer, chat.house.coach, 150), write(other, chat.house.client, 150))
    finally:
        await other.stop()
    assert all(own == sorted(own) for own in seqs)
    assert sorted(seqs[0] + seqs[1]) == list(range(1, 301))
    assert len(await chat.bodies(direct.id)) == 300


async def test_slow_mode_holds_clients_who_are_no_admins(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, house.owner, title="Team")).id

    async def set_slow_mode(actor: Actor, seconds: int) -> None:
        changes = ConversationChanges(slow_mode_s=seconds)
        await change_conversation(chat.outbox, chat.live, actor, group, changes)

    with pytest.raises(Forbidden):
        await set_slow_mode(house.client, 60)
    await set_slow_mode(house.owner, 60)
    assert chat.pushes[-1].data["conversation"]["slow_mode_s"] == 60
    sends = [asyncio.ensure_future(chat.say(house.client, group, str(n))) for n in range(8)]
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, TooMany)]
    assert len(refused) == 7
    assert all(o.code == "SLOW_MODE" and 0 < o.retry_after_s <= 60 for o in refused)
    (sent,) = [o for o in outcomes if isinstance(o, Sent)]
    again = await chat.say(house.client, group, client_message_id=sent.message.client_message_id)
    assert again.duplicate
    for _ in range(2):
        await chat.say(house.coach, group)
    await chat.db.execute("update conversation_members set last_sent_at = last_sent_at - interval '60 seconds'")
    await chat.say(house.client, group)
    with pytest.raises(TooMany):
        await chat.say(house.client, group)
    await chat.db.execute("update conversation_members set role = 'admin' where user_id = $1", house.client.user_id)
    await chat.say(house.client, group)
    await set_slow_mode(house.coach, 0)
    await chat.db.execute("update conversation_members set role = 'member' where user_id = $1", house.client.user_id)
    for _ in range(2):
        await chat.say(house.client, group)


@pytest.mark.parametrize("change", ["removed", "repeated", "renamed"])
async def test_what_changed_while_the_lock_was_awaited_is_seen(chat: Chat, change: str) -> None:
    """Stored at once, a batch reads by an old snapshot: what it can't know of, it leaves for the second way."""
    house = chat.house
    group = await chat.open(house.owner, house.coach, house.client, title="Team")
    new = NewMessage(conversation_id=group.id, client_message_id=uuid4(), body="mine")
    async with chat.db.transaction() as holding:
        await holding.execute("select from conversations where id = $1 for update", group.id)
        sending = asyncio.ensure_future(chat.writer.send(house.client, new))
        await waits_for_a_lock(chat)
        match change:
            case "removed":
                await holding.execute(
                    "update conversation_members set left_at = now() where user_id = $1", house.client.user_id
                )
            case "repeated":
                await holding.execute(
                    "insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body,"
                    " created_at) values ($1, $2, $3, 1, $4, $5, 'first', now())",
                    uuid4(), house.practice.id, group.id, house.client.user_id, new.client_message_id,
                )  # fmt: skip
        await holding.execute("update conversations set last_seq = last_seq + 1 where id = $1", group.id)
    match change:
        case "removed":
            with pytest.raises(NotFound):
                await sending
        case "repeated":
            sent = await sending
            assert (sent.duplicate, sent.message.body) == (True, "first")
        case "renamed":
            assert (await sending).message.seq == 2


async def waits_for_a_lock(chat: Chat) -> None:
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with chat.db.connection() as connection:
        await connection.execute("set role none")  # what others wait for, the app's role is not told
        while not await connection.fetchval(waiting):
            await asyncio.sleep(0.01)
        await connection.execute("reset role")
