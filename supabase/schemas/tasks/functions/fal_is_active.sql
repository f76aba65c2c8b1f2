-- Whether FAL runs tasks now: a claim or a heartbeat of it within two minutes, and a rule that lets it take any.
create or replace function public.fal_is_active(settings public.queue_settings)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return settings.fal_runs <> 'none' and settings.fal_seen_at > now() - interval '2 minutes';
end
$$;
revoke all on function public.fal_is_active from public, anon, authenticated;
