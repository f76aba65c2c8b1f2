-- Where something is to be generated: the project, what the payload takes from it, and that all rows that the request names
-- are of it; foreign and unknown are the same 404. `named` is [{field, kind, id}].
-- A request that was answered before, by its key, has the first answer instead, whatever has become of those rows.
create or replace function public.place_for_generation(
  for_user uuid, for_project uuid, named jsonb default '[]', idempotency_key text default null, sent jsonb default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  project constant public.projects := public.find_project(for_user, for_project);
  first_answer jsonb;
  missing record;
begin
  if idempotency_key is not null then
    first_answer := public.answered_request(project.user_id, idempotency_key, sha256(convert_to(sent::text, 'UTF8')));
    if first_answer is not null then
      return jsonb_build_object('first_answer', first_answer);
    end if;
  end if;
  select given.value ->> 'field' as field, given.value ->> 'kind' as kind into missing
    from jsonb_array_elements(named) with ordinality as given (value, position),
         lateral (select (given.value ->> 'id')::uuid as id) as row_of
   where not case given.value ->> 'kind'
           when 'shot' then exists (select from public.shots where id = row_of.id and project_id = project.id)
           when 'generation' then exists (
             select from public.generations where id = row_of.id and project_id = project.id)
           when 'variant' then exists (
             select from public.generation_variants where id = row_of.id and project_id = project.id)
           when 'shot_generation' then exists (
             select from public.shot_generations as place_in_shot join public.shots as shot on shot.id = place_in_shot.shot_id
              where place_in_shot.id = row_of.id and shot.project_id = project.id) end
   order by given.position limit 1;
  if missing.kind = 'shot' then
    perform public.refuse('shot_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'generation' then
    perform public.refuse('generation_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'variant' then
    perform public.refuse('variant_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'shot_generation' then
    perform public.refuse('shot_generation_not_found', 404, jsonb_build_object('field', missing.field));
  end if;
  return jsonb_build_object('project_id', project.id, 'aspect_ratio', project.aspect_ratio);
end
$$;
revoke all on function public.place_for_generation from public, anon, authenticated;
grant execute on function public.place_for_generation to service_role;
