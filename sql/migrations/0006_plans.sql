-- Plans, subscriptions, packages of sessions and the credits that come of them.
select 1;
