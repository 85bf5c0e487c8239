-- After a dump was restored into a new cluster, whose transaction numbers begin anew: moves all restored events, and
-- the places that readers have come to, below zero, in the order in which they were. What is written from now on
-- comes after them. Run it once, before Wellio is started.

begin;

create temporary table shift on commit drop as
select coalesce(max(xid), 0) + 1 as by from events;

update events set xid = xid - shift.by from shift;
update consumers set xid = xid - shift.by from shift;
update learner_snapshots set xid = xid - shift.by from shift;

commit;
