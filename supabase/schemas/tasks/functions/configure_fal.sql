-- What a host says about FAL when it starts. With a key: the rule and the time. Without: that FAL is not configured, which a host
-- says only of a database that it alone serves.
create or replace function public.configure_fal(is_configured boolean, rule text default null, after_seconds integer default null)
returns void
language sql set search_path = '' as $$
  update public.queue_settings
     set fal_is_configured = is_configured, fal_runs = coalesce(rule, fal_runs),
         fal_after = coalesce(make_interval(secs => after_seconds), fal_after)
   where (fal_is_configured, fal_runs, fal_after)
         is distinct from (is_configured, coalesce(rule, fal_runs), coalesce(make_interval(secs => after_seconds), fal_after))
$$;
revoke all on function public.configure_fal from public, anon, authenticated;
