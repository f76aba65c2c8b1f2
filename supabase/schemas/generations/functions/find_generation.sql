-- A generation that params name, if it is one of this project; locked against being deleted before this commits.
create or replace function public.find_generation(named text, of_project uuid)
returns public.generations
language plpgsql set search_path = '' as $$
declare
  found_generation public.generations;
begin
  select * into found_generation from public.generations
   where id = public.uuid_or_null(named) and project_id = of_project for key share;
  return found_generation;
end
$$;
revoke all on function public.find_generation from public, anon, authenticated;
