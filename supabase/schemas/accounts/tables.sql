-- People and their projects. `credits` (US cents) is kept by the credits room for clients that read it here.
create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  name public.person_name,
  email text,
  username public.username unique,
  avatar_url public.link,
  credits numeric(16, 4) not null default 0,
  given_credits boolean not null default false,
  -- Told of, live, when the balance falls to this, in credits.
  low_balance_threshold public.credit_threshold not null default 100,
  -- Automatic top-ups, in US cents; `setup_completed` says that a card is saved. The billing room writes them.
  auto_topup_enabled boolean not null default false,
  auto_topup_amount public.payment_cents,
  auto_topup_threshold public.topup_threshold_cents,
  auto_topup_monthly_cap public.topup_cap_cents,
  auto_topup_last_triggered timestamptz,
  auto_topup_setup_completed boolean not null default false,
  -- Why it was switched off, where that was not its owner.
  auto_topup_disabled_reason public.topup_disabled_reason,
  settings public.user_settings not null
    default '{"ui": {"paneLocks": {"gens": false, "shots": false, "tasks": true}}, "user-preferences": {}}',
  onboarding public.onboarding_state not null default '{}',
  created_at timestamptz not null default now()
);

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references public.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 200),
  aspect_ratio text check (aspect_ratio ~ '^\d{1,2}:\d{1,2}$|^Square$'),
  settings jsonb not null default '{}' check (pg_column_size(settings) <= 262144),
  -- How many of its tasks may run at once; as many as its owner's may when null.
  max_running_tasks smallint check (max_running_tasks between 1 and 1000),
  -- Whether the same task again is answered with what it made before; see docs/reuse.md.
  reuses_results boolean not null default false,
  -- Set when its owner has deleted it and its rows are not all removed yet. Its owner does not see it from then on.
  deleted_at timestamptz,
  created_at timestamptz not null default now()
);
create index projects_by_user on public.projects (user_id, created_at);
