-- The billed values of an orchestration with those of some more of its children: by their type, with how many there are (`tasks`).
-- Where children of one type differ, `groups` lists them apart.
create or replace function public.with_billed_part(billed jsonb, child_type text, part jsonb, part_count integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  known constant jsonb := billed -> child_type;
  tasks constant integer := part_count + coalesce((known ->> 'tasks')::integer, 0);
begin
  return billed || jsonb_build_object(child_type, case
    when known is null or not known ? 'groups' and known - 'tasks' = part then part || jsonb_build_object('tasks', tasks)
    else jsonb_build_object('tasks', tasks, 'groups',
      coalesce(known -> 'groups', jsonb_build_array(known)) || jsonb_build_array(part || jsonb_build_object('tasks', part_count))) end);
end
$$;
revoke all on function public.with_billed_part from public, anon, authenticated;
