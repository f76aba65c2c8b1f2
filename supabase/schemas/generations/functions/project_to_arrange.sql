-- Locks a project of the caller's whose shots are to be arranged; 404 when there is none that they may see.
create or replace function public.project_to_arrange(of_project uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.projects where id = of_project for no key update;
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
end
$$;
revoke all on function public.project_to_arrange from public, anon, authenticated;
grant execute on function public.project_to_arrange to authenticated, service_role;
