-- After a dump was restored into a new cluster, whose transaction numbers begin anew: moves all restored events and
-- rows of the audit log, and the places that readers have come to, below zero, in the order in which they were. What
-- is written from now on comes after them. Run it once, as the schema's owner, before Wellio is started.

begin;

create temporary table shift on commit drop as
select coalesce(max(xid), 0) + 1 as by
from (select xid from events union all select xid from audit_log) written;

update events set xid = xid - shift.by from shift;
update consumers set xid = xid - shift.by from shift;
update learner_snapshots set xid = xid - shift.by from shift;

-- The audit log is append-only for everybody: its triggers stand aside for this transaction, which locks the tables.
-- Hashes do not cover the transaction's number, so the chain stays whole.
alter table audit_log disable trigger audit_log_append_only;
alter table audit_chain disable trigger audit_chain_append_only;
update audit_log set xid = xid - shift.by from shift;
update audit_chain set xid = xid - shift.by from shift;
alter table audit_log enable trigger audit_log_append_only;
alter table audit_chain enable trigger audit_chain_append_only;

commit;
