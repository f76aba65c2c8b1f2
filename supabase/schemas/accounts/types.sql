-- What people may write about themselves and their projects, with its limits. Domains, for a table's own checks are
-- read anew at every write, and `users.credits` is written with every charge.
create domain public.person_name as text check (length(value) <= 200);
create domain public.username as text check (length(value) between 1 and 60);
create domain public.link as text check (length(value) <= 2000);
create domain public.user_settings as jsonb check (pg_column_size(value) <= 262144);
create domain public.onboarding_state as jsonb check (pg_column_size(value) <= 65536);
create domain public.credit_threshold as integer check (value between 0 and 1000000);

-- What is paid at once, the balance at which more is bought, and what a month may cost at most; in US cents.
create domain public.payment_cents as integer check (value between 500 and 10000);
create domain public.topup_threshold_cents as integer check (value between 100 and 9999);
create domain public.topup_cap_cents as integer check (value between 500 and 1000000);
create domain public.topup_disabled_reason as text check (
  value in ('card_declined', 'expired_card', 'authentication_required', 'card_removed', 'customer_removed',
            'payment_disputed', 'payment_refunded'));
