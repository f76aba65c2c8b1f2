create type public.ledger_entry_type as enum ('stripe', 'manual', 'spend', 'refund', 'auto_topup');
create type public.billing_type as enum ('per_unit', 'per_second');
create type public.hold_state as enum ('held', 'settled', 'released');

-- An amount of money that cannot be below zero, in millionths of a dollar.
create domain public.amount_microusd as bigint check (value >= 0);
create domain public.ledger_key as text check (length(value) <= 300);
