-- The first five are those that clients know.
create type public.ledger_entry_type as enum (
  'stripe', 'manual', 'spend', 'refund', 'auto_topup', 'expiry', 'dispute', 'debt', 'write_off');
-- Given away is spent before what was paid for, and only it can expire.
create type public.grant_category as enum ('promotional', 'paid');
create type public.billing_type as enum ('per_unit', 'per_second');
create type public.hold_state as enum ('held', 'settled', 'released');

-- An amount of money that cannot be below zero, in millionths of a dollar.
create domain public.amount_microusd as bigint check (value >= 0);
create domain public.ledger_key as text check (length(value) <= 300);
-- As people type them: without regard to case.
create domain public.promo_code as text check (value ~ '^[A-Z0-9][A-Z0-9_-]{2,39}$');
create domain public.cost_factors as jsonb check (jsonb_typeof(value) = 'object' and pg_column_size(value) <= 16384);
