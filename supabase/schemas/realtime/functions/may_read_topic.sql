-- Whether the caller may listen to a topic: those of their projects, and that of their credits.
-- Names are compared as text and never cast: a topic that names no uuid is refused like one that is not theirs.
create or replace function public.may_read_topic(topic text)
returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(topic = 'credits:' || auth.uid(), false)
      or exists (
        select from public.projects as project
         where project.user_id = auth.uid()
           and topic in ('task-updates:' || project.id, 'generations:' || project.id))
$$;
revoke all on function public.may_read_topic from public, anon, authenticated;
grant execute on function public.may_read_topic to authenticated, service_role;
