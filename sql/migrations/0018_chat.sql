-- Of messages, scheduled ones and conversations an Idempotency-Key keeps the id of what it made and none of its words:
-- whoever deletes a message deletes all of it. What was kept before loses them too.
update idempotency_keys
set answer = convert_to(
    jsonb_build_object(
        'success', true,
        'data', jsonb_build_object('id', convert_from(answer, 'UTF8')::jsonb -> 'data' -> 'id'))::text,
    'UTF8')
where operation in ('post_message', 'post_scheduled_message', 'post_conversation');
