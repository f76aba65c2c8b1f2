-- What finished tasks made. A generation shows its primary variant's file; a parent without one waits for the
-- stitch of its children.
create table public.generations (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  -- Ids of the tasks that made it, as clients read them; `source_task_id` is the same, unique: a task makes one
  -- generation, an orchestrator one parent. It names no table by foreign key: the task may be in the archive.
  tasks jsonb not null default '[]',
  source_task_id uuid unique,
  type text check (length(type) <= 100),
  name text check (length(name) <= 300),
  location text check (length(location) <= 8192),
  thumbnail_url text check (length(thumbnail_url) <= 8192),
  params jsonb not null default '{}',
  based_on uuid references public.generations (id) on delete set null,
  parent_generation_id uuid references public.generations (id) on delete cascade,
  is_child boolean not null default false,
  child_order integer,
  -- The image of a shot behind which a child stands.
  pair_shot_generation_id uuid,
  primary_variant_id uuid,
  -- Where it stands in shots: {"<shot>": [frame or null, …]}; kept by a trigger.
  shot_data jsonb not null default '{}',
  starred boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index generations_by_project on public.generations (project_id, created_at desc);
create index generations_by_based_on on public.generations (based_on) where based_on is not null;
create index generations_by_parent on public.generations (parent_generation_id, child_order)
  where parent_generation_id is not null;
create index generations_by_pair on public.generations (pair_shot_generation_id)
  where pair_shot_generation_id is not null;
-- Who made the image that a task began with.
create index generations_by_location on public.generations using hash (location);

create table public.generation_variants (
  id uuid primary key default gen_random_uuid(),
  generation_id uuid not null references public.generations (id) on delete cascade,
  -- The generation's; a trigger sees to it.
  project_id uuid not null references public.projects (id) on delete cascade,
  source_task_id uuid,
  -- Which of the task's outputs it is, where it has several.
  output_index smallint not null default 0 check (output_index between 0 and 15),
  location text not null check (length(location) <= 8192),
  thumbnail_url text check (length(thumbnail_url) <= 8192),
  params jsonb not null default '{}',
  is_primary boolean not null default false,
  variant_type text not null check (length(variant_type) between 1 and 100),
  name text check (length(name) <= 300),
  viewed_at timestamptz,
  created_at timestamptz not null default now(),
  -- A task adds each output to a generation once, however often its completion is repeated.
  unique (generation_id, source_task_id, output_index)
);
create unique index one_primary_variant on public.generation_variants (generation_id) where is_primary;
create index generation_variants_by_project on public.generation_variants (project_id, created_at desc);

alter table public.generations
  add constraint generations_primary_variant_id_fkey
  foreign key (primary_variant_id) references public.generation_variants (id) on delete set null
  -- A generation is written once, with its variant's id, and the variant after it.
  deferrable initially deferred;

-- A timeline of images.
create table public.shots (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  name text not null default 'Shot' check (length(name) between 1 and 300),
  -- Counted from 1 within the project; the last when not given.
  position integer not null,
  aspect_ratio text check (aspect_ratio ~ '^\d{1,2}:\d{1,2}$|^Square$'),
  settings jsonb not null default '{}' check (pg_column_size(settings) <= 262144),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index shots_by_project on public.shots (project_id, position);

-- A generation's place in a shot; the same generation may stand in several. Browsers ask for what is embedded by the
-- names of these keys, and of `generations_primary_variant_id_fkey` and `generation_variants_generation_id_fkey`.
create table public.shot_generations (
  id uuid primary key default gen_random_uuid(),
  shot_id uuid not null constraint shot_generations_shot_id_shots_id_fk references public.shots (id) on delete cascade,
  generation_id uuid not null constraint shot_generations_generation_id_generations_id_fk
    references public.generations (id) on delete cascade,
  -- Null: belongs to the shot, stands nowhere on its timeline.
  timeline_frame integer check (timeline_frame between -1000000 and 100000000),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 262144),
  -- The task whose completion put it there, once.
  source_task_id uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (shot_id, source_task_id)
);
create index shot_generations_by_shot on public.shot_generations (shot_id, timeline_frame);
create index shot_generations_by_generation on public.shot_generations (generation_id);
alter table public.generations
  add constraint generations_pair_shot_generation_id_fkey
  foreign key (pair_shot_generation_id) references public.shot_generations (id) on delete set null;
