-- A new shot at a place (counted from 1; at the end when null), those from there on one further. For browsers, under
-- the caller's policies.
create or replace function public.insert_shot_at_position(p_project_id uuid, p_shot_name text, p_position integer)
returns table (shot_id uuid, shot_name text, shot_position integer, success boolean)
language plpgsql set search_path = '' as $$
begin
  perform public.project_to_arrange(p_project_id);
  update public.shots as later set position = later.position + 1
   where later.project_id = p_project_id and later.position >= p_position;
  return query
    insert into public.shots as added (project_id, name, position)
    values (p_project_id, p_shot_name, case when p_position is not null then greatest(p_position, 1) end)
    returning added.id, added.name, added.position, true;
end
$$;
revoke all on function public.insert_shot_at_position from public, anon, authenticated;
grant execute on function public.insert_shot_at_position to authenticated, service_role;
