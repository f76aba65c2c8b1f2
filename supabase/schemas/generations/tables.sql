-- What finished tasks made. A generation shows its primary variant's file.
create table public.generations (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  -- Ids of the tasks that made it, as clients read them; `source_task_id` is the same, unique. It names no
  -- table by foreign key: the task may be in the archive.
  tasks jsonb not null default '[]',
  source_task_id uuid unique,
  type text,
  name text check (length(name) <= 300),
  location text,
  thumbnail_url text,
  params jsonb not null default '{}',
  based_on uuid references public.generations (id) on delete set null,
  parent_generation_id uuid references public.generations (id) on delete cascade,
  is_child boolean not null default false,
  child_order integer,
  primary_variant_id uuid,
  shot_data jsonb not null default '{}',
  starred boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index generations_by_project on public.generations (project_id, created_at desc);
create index generations_by_based_on on public.generations (based_on) where based_on is not null;
create index generations_by_parent on public.generations (parent_generation_id) where parent_generation_id is not null;

create table public.generation_variants (
  id uuid primary key default gen_random_uuid(),
  generation_id uuid not null references public.generations (id) on delete cascade,
  project_id uuid not null references public.projects (id) on delete cascade,
  source_task_id uuid,
  location text not null,
  thumbnail_url text,
  params jsonb not null default '{}',
  is_primary boolean not null default false,
  variant_type text not null,
  name text check (length(name) <= 300),
  viewed_at timestamptz,
  created_at timestamptz not null default now(),
  -- A task adds to a generation once, however often its completion is repeated.
  unique (generation_id, source_task_id)
);
create unique index one_primary_variant on public.generation_variants (generation_id) where is_primary;
create index generation_variants_by_project on public.generation_variants (project_id, created_at desc);

alter table public.generations
  add constraint generations_primary_variant_id_fkey
  foreign key (primary_variant_id) references public.generation_variants (id) on delete set null
  -- A generation is written once, with its variant's id, and the variant after it.
  deferrable initially deferred;
