create type public.checkout_status as enum ('open', 'complete', 'expired');
-- `requested` is open: it is charged, or what came of it is not known yet. `failed` leaves automatic top-ups on.
create type public.auto_topup_state as enum ('requested', 'succeeded', 'declined', 'failed', 'cancelled');
