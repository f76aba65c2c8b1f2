-- Gives out jobs that are to be withdrawn at a provider, each to one caller for a minute: of two that withdraw one job, the
-- second would be told that it is over, which is also what is said of a job that ran. `for_user`: the owner whose own worker asks,
-- for the jobs of that account; null: the service, for the others.
create or replace function public.claim_provider_withdrawals(for_user uuid, for_provider text, at_most integer)
returns jsonb
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  claimed jsonb;
begin
  with given as (
    update public.provider_withdrawals
       set tries = tries + 1, next_try_at = now() + interval '1 minute'
     where id in (
       select id from public.provider_withdrawals
        where state = 'open' and request_id is not null and provider = for_provider
          and by_owner = (for_user is not null) and (for_user is null or user_id = for_user)
          and next_try_at <= now() and expires_at > now()
        order by next_try_at limit at_most for no key update skip locked)
    returning *
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'withdrawal_id', id, 'task_id', task_id, 'model', model, 'request_id', request_id,
           'tries', tries) order by created_at), '[]')
    into claimed from given;
  return claimed;
end
$$;
revoke all on function public.claim_provider_withdrawals from public, anon, authenticated;
