-- Gives the longest noted result to those who still follow it, at most so many; where there is no result any more, lets one
-- of them run. Answers how many tasks moved on. Safe to run anywhere at once: what another has locked is passed over.
-- One result a call, so that locks are taken in the order of a completion.
create or replace function public.settle_followers(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  noted public.results_to_share;
  result public.tasks;
  shared public.tasks[] := '{}';
begin
  select * into noted from public.results_to_share order by created_at limit 1 for update skip locked;
  if not found then
    return 0;
  end if;
  result := public.find_result(noted.project_id, noted.result_key);
  if result.id is not null then
    shared := public.share_result(result, at_most);
  end if;
  -- Under the tenant's lock: who begins to follow notes it under that lock too, so no note is lost.
  perform public.lock_tenant(noted.user_id);
  delete from public.results_to_share where project_id = noted.project_id and result_key = noted.result_key;
  perform public.finish_followers(shared);
  return cardinality(shared)
         + public.release_followers(noted.project_id, noted.result_key, noted.user_id)::integer;
end
$$;
revoke all on function public.settle_followers from public, anon, authenticated;
grant execute on function public.settle_followers to service_role;
