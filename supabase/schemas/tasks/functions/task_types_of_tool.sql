-- What a name that may be a tool's stands for: the task type of this name, the active task types of the tool, and all tools. A name
-- is spelled with `-` or `_`; a tool's own name comes before a type that is spelled like it.
create or replace function public.task_types_of_tool(tool text)
returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'own_type', (select coalesce(kind.alias_of, kind.name) from public.task_types as kind
                  where kind.name in (tool, replace(tool, '-', '_')) and kind.is_active and kind.category <> 'call'
                    and (kind.name = tool or not exists (
                      select from public.task_types as other where other.tool_type = tool and other.is_active))
                  order by kind.name = tool desc limit 1),
    'task_types', coalesce((select jsonb_agg(kind.name order by kind.name) from public.task_types as kind
                             where kind.tool_type in (tool, replace(tool, '_', '-')) and kind.is_active
                               and kind.alias_of is null and kind.category <> 'call'), '[]'),
    'tools', coalesce((select jsonb_agg(distinct kind.tool_type) from public.task_types as kind
                        where kind.tool_type is not null and kind.is_active), '[]'))
$$;
revoke all on function public.task_types_of_tool from public, anon, authenticated;
grant execute on function public.task_types_of_tool to service_role;
