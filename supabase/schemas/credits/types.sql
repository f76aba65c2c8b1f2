create type public.ledger_entry_type as enum ('stripe', 'manual', 'spend', 'refund', 'auto_topup');
create type public.billing_type as enum ('per_unit', 'per_second');
create type public.hold_state as enum ('held', 'settled', 'released');
