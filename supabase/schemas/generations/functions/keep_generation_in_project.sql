-- A generation stays in its project, and so do those that it names: nobody can hang their rows on another's.
create or replace function public.keep_generation_in_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and new.project_id <> old.project_id then
    perform public.refuse('invalid_request', 400, '{"field": "project_id"}');
  end if;
  if new.based_on is not null and not exists (
       select from public.generations where id = new.based_on and project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "based_on"}');
  end if;
  if new.parent_generation_id is not null and not exists (
       select from public.generations
        where id = new.parent_generation_id and id <> new.id and project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "parent_generation_id"}');
  end if;
  if new.pair_shot_generation_id is not null and not exists (
       select from public.shot_generations as pair join public.shots as shot on shot.id = pair.shot_id
        where pair.id = new.pair_shot_generation_id and shot.project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "pair_shot_generation_id"}');
  end if;
  return new;
end
$$;
revoke all on function public.keep_generation_in_project from public, anon, authenticated;
