-- Personal access tokens of workers. The token's text is nowhere; its SHA-256 is enough to know it again,
-- for it carries 178 random bits.
create table public.personal_access_tokens (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  token_hash bytea not null unique check (length(token_hash) = 32),
  last_four text not null check (length(last_four) = 4),
  label text not null check (length(label) between 1 and 100),
  scopes text[] not null check (scopes <@ array['tasks:read', 'tasks:write', 'tasks:run'] and cardinality(scopes) > 0),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index personal_access_tokens_by_user on public.personal_access_tokens (user_id, created_at desc);
