-- Sessions: participants, series, holds, waitlists and the rules of changing them.
select 1;
