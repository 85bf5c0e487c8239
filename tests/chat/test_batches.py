"""What a batch of messages comes to, for any batch: numbers without holes, order, repeats, permissions."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from tests.chat.conftest import Chat
from wellio.accounts.actors import Actor, Role
from wellio.chat.batches import Checked, Waiting, plan_batch
from wellio.chat.messages import Message, MessageWriter, NewMessage, Sent
from wellio.errors import Invalid, NotFound, WellioError
from wellio.live import Live
from wellio.metrics import Metrics

CONVERSATIONS = [UUID(int=n) for n in range(1, 4)]
GONE = UUID(int=99)
SENDERS = [Actor(UUID(int=n), UUID(int=7), Role.COACH, UUID(int=n), "x") for n in range(101, 104)]
NAMES = [UUID(int=n) for n in range(201, 207)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def old_message(conversation_id: UUID, sender: Actor, name: UUID) -> Message:
    return Message(uuid4(), conversation_id, 1, sender.user_id, "old", name, None, (), {}, None, None, NOW)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[tuple[Waiting, Checked]], dict[UUID, int]]:
    """Messages of members and strangers, to known and unknown conversations, some of them repeats."""
    members = draw(st.sets(st.tuples(st.sampled_from(CONVERSATIONS), st.sampled_from(SENDERS))))
    stored = draw(st.sets(st.tuples(st.sampled_from(CONVERSATIONS), st.sampled_from(SENDERS), st.sampled_from(NAMES))))
    batch = []
    for n in range(draw(st.integers(0, 40))):
        conversation = draw(st.sampled_from([*CONVERSATIONS, GONE]))
        sender, name = draw(st.sampled_from(SENDERS)), draw(st.sampled_from(NAMES))
        new = NewMessage(conversation_id=conversation, client_message_id=name, body=str(n))
        known = (conversation, sender, name) in stored
        checked = Checked(
            role=sender.role if (conversation, sender) in members else None,
            client_id=None,
            reply_known=draw(st.booleans()),
            audience=None,
            stored=old_message(conversation, sender, name) if known else None,
        )
        sent: Any = None
        batch.append((Waiting(sender, new, None, sent), checked))
    return batch, {c: draw(st.integers(0, 1000)) for c in CONVERSATIONS}


@given(batches())
def test_any_batch_is_numbered_without_holes_in_the_order_it_came(
    given_: tuple[list[tuple[Waiting, Checked]], dict[UUID, int]],
) -> None:
    pairs, heads = given_
    plan = plan_batch([w for w, _ in pairs], heads=heads, checks=[c for _, c in pairs], refused={}, now=NOW)
    assert len(plan.outcomes) == len(pairs)
    numbered = defaultdict(list)
    named: dict[tuple[UUID, UUID, UUID], Message] = {}
    for (waiting, checked), outcome in zip(pairs, plan.outcomes, strict=True):
        new = waiting.new
        if checked.role is None or new.conversation_id == GONE:
            assert isinstance(outcome, NotFound)
        elif checked.stored is not None:
            assert outcome == Sent(checked.stored, duplicate=True)
        elif not checked.reply_known:
            assert isinstance(outcome, Invalid)
        else:
            assert isinstance(outcome, Sent)
            first = named.setdefault(waiting.key, outcome.message)
            assert outcome.message == first
            assert outcome.duplicate == (first.body != new.body)
            if not outcome.duplicate:
                numbered[new.conversation_id].append(outcome.message.seq)
    for conversation_id, seqs in numbered.items():
        head = heads[conversation_id]
        assert seqs == list(range(head + 1, head + 1 + len(seqs)))
    assert [f.message for f in plan.fresh] == [
        o.message for o in plan.outcomes if isinstance(o, Sent) and not o.duplicate
    ]


@given(batches(), st.data())
def test_what_was_refused_before_takes_no_number(
    given_: tuple[list[tuple[Waiting, Checked]], dict[UUID, int]], data: st.DataObject
) -> None:
    pairs, heads = given_
    error: WellioError = Invalid("used with another body")
    refused = {n: error for n in range(len(pairs)) if data.draw(st.booleans())}
    plan = plan_batch([w for w, _ in pairs], heads=heads, checks=[c for _, c in pairs], refused=refused, now=NOW)
    assert all(plan.outcomes[n] is error for n in refused)
    assert len(plan.fresh) <= len(pairs) - len(refused)


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
