-- A shot holds generations of its own project.
create or replace function public.keep_shot_generation_in_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (
       select from public.shots as shot join public.generations as generation on generation.project_id = shot.project_id
        where shot.id = new.shot_id and generation.id = new.generation_id) then
    perform public.refuse('invalid_request', 400, '{"field": "generation_id"}');
  end if;
  return new;
end
$$;
revoke all on function public.keep_shot_generation_in_project from public, anon, authenticated;
