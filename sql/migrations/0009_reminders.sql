-- Reminders: when whom to remind of a session, by what.
select 1;
