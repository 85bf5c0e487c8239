-- Clients: notes, goals, measurements and fields of a practice's own.
select 1;
