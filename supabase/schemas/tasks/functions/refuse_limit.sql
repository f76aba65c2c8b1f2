-- Refuses a task that would exceed a limit of queue_settings.
create or replace function public.refuse_limit(limit_name text, allowed integer, message text)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.refuse('task_limit_reached', 422, jsonb_build_object(
    'limit_name', limit_name, 'limit', allowed, 'message', format(message, allowed)));
end
$$;
revoke all on function public.refuse_limit from public, anon, authenticated;
