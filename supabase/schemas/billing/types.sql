create type public.checkout_status as enum ('open', 'complete', 'expired');
-- `requested` is open: it is charged, or what came of it is not known yet. `failed` leaves automatic top-ups on.
create type public.auto_topup_state as enum ('requested', 'succeeded', 'declined', 'failed', 'cancelled');
create type public.payment_purpose as enum ('checkout', 'auto_topup');
-- `paid` stays paid: what is given back is in refunds and disputes.
create type public.payment_state as enum ('unknown', 'pending', 'failed', 'paid');
create type public.stripe_event_state as enum ('received', 'handled', 'ignored', 'quarantined');
create type public.alert_state as enum ('open', 'released', 'dismissed');
