-- What people may write about themselves and their projects, with its limits. Domains, for a table's own checks are
-- read anew at every write, and `users.credits` is written with every charge.
create domain public.person_name as text check (length(value) <= 200);
create domain public.username as text check (length(value) between 1 and 60);
create domain public.link as text check (length(value) <= 2000);
create domain public.user_settings as jsonb check (pg_column_size(value) <= 262144);
create domain public.onboarding_state as jsonb check (pg_column_size(value) <= 65536);
create domain public.credit_threshold as integer check (value between 0 and 1000000);
