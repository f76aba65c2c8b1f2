-- Notes that FAL runs tasks here, and the rule by which it does, where a caller states one. Nothing is written while nothing
-- changes, but for the time, every 30 seconds. Waits for nobody: the next caller notes what this one could not.
create or replace function public.note_fal(rule text default null, after_seconds integer default null)
returns void
language plpgsql set search_path = '' as $$
declare
  after constant interval := make_interval(secs => after_seconds);
begin
  if exists (select from public.queue_settings
              where not fal_is_configured or fal_seen_at < now() - interval '30 seconds'
                 or fal_runs <> coalesce(rule, fal_runs) or fal_after <> coalesce(after, fal_after)) then
    update public.queue_settings
       set fal_is_configured = true, fal_seen_at = now(), fal_runs = coalesce(rule, fal_runs), fal_after = coalesce(after, fal_after)
     where only_row = (select only_row from public.queue_settings for no key update skip locked);
  end if;
end
$$;
revoke all on function public.note_fal from public, anon, authenticated;
