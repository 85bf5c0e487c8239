-- Webhooks: whom a practice tells of its events, and what became of each delivery.
select 1;
