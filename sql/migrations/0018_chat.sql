-- Of messages, scheduled ones, conversations and notes an Idempotency-Key keeps the id of what it made and none of its
-- words: whoever deletes a message deletes all of it, and what is sealed stands nowhere in the clear. What was kept
-- before loses its words too.
update idempotency_keys
set answer = convert_to(
    jsonb_build_object(
        'success', true,
        'data', jsonb_build_object('id', convert_from(answer, 'UTF8')::jsonb -> 'data' -> 'id'))::text,
    'UTF8')
where operation in ('post_message', 'post_scheduled_message', 'post_conversation', 'post_note');
