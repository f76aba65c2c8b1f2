-- Brings a project's shots into this order; those that are not named follow in the order that they had. Answers how many
-- moved. For browsers, under the caller's policies.
create or replace function public.reorder_shots(p_project_id uuid, p_shot_ids uuid[])
returns integer
language plpgsql set search_path = '' as $$
declare
  moved integer;
begin
  perform public.project_to_arrange(p_project_id);
  if cardinality(p_shot_ids) > 10000 or (select count(*) from unnest(p_shot_ids)) > (
       select count(*) from public.shots where project_id = p_project_id and id = any (p_shot_ids)) then
    perform public.refuse('shot_not_found', 404);
  end if;
  update public.shots as shot set position = place.new_position
    from (select id, row_number() over (
                   order by array_position(p_shot_ids, id) nulls last, position, created_at, id) as new_position
            from public.shots where project_id = p_project_id) as place
   where shot.id = place.id and shot.position <> place.new_position;
  get diagnostics moved = row_count;
  return moved;
end
$$;
revoke all on function public.reorder_shots from public, anon, authenticated;
grant execute on function public.reorder_shots to authenticated, service_role;
