-- Counts model calls that nobody pays for against the account's allowance of the day (UTC); 429 `free_allowance_used` when they
-- do not fit, and then none is counted. One row an account, so any number of racers share one allowance.
create or replace function public.take_free_calls(for_user uuid, model_calls integer)
returns void
language plpgsql set search_path = '' as $$
declare
  allowance constant integer := (select free_calls_per_day from public.credit_settings);
  today constant date := (now() at time zone 'UTC')::date;
begin
  if allowance is null or model_calls = 0 then
    return;
  end if;
  if model_calls <= allowance then
    insert into public.free_calls as used (user_id, day, calls) values (for_user, today, model_calls)
    on conflict (user_id) do update
      set day = excluded.day,
          calls = excluded.calls + case when used.day = excluded.day then used.calls else 0 end
      where excluded.calls + case when used.day = excluded.day then used.calls else 0 end <= allowance;
    if found then
      return;
    end if;
  end if;
  perform public.refuse('free_allowance_used', 429, jsonb_build_object(
    'limit', allowance, 'required', model_calls,
    'remaining', allowance - coalesce((select calls from public.free_calls where user_id = for_user and day = today), 0),
    'retry_after', ceil(extract(epoch from (today + 1)::timestamp at time zone 'UTC' - now()))));
end
$$;
revoke all on function public.take_free_calls from public, anon, authenticated;
