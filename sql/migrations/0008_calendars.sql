-- Calendars: private feeds of sessions, and busy times from calendars elsewhere.
select 1;
