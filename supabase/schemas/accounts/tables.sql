-- People and their projects. `credits` (US cents) is kept by the credits room for clients that read it here.
create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  name text check (length(name) <= 200),
  email text,
  username text unique check (length(username) between 1 and 60),
  avatar_url text check (length(avatar_url) <= 2000),
  credits numeric(16, 4) not null default 0,
  given_credits boolean not null default false,
  settings jsonb not null default '{"ui": {"paneLocks": {"gens": false, "shots": false, "tasks": true}}, "user-preferences": {}}'
    check (pg_column_size(settings) <= 262144),
  onboarding jsonb not null default '{}' check (pg_column_size(onboarding) <= 65536),
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
  created_at timestamptz not null default now()
);
create index projects_by_user on public.projects (user_id, created_at);
