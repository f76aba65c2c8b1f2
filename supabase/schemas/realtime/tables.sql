-- Numbers task updates, so that a client can tell an older one from a newer.
create sequence public.task_update_sequence;

-- What `postgres_changes` may show; row policies decide to whom.
alter publication supabase_realtime add table public.tasks, public.generations, public.generation_variants,
  public.shots, public.shot_generations;
