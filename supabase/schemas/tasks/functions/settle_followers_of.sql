-- One noted result: see settle_followers(). The caller holds the tenant's and the note's lock.
create or replace function public.settle_followers_of(noted public.results_to_share, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  result constant public.tasks := public.find_result(noted.project_id, noted.result_key);
  shared public.tasks[] := '{}';
begin
  if result.id is not null then
    shared := public.share_result(result, at_most);
  end if;
  delete from public.results_to_share where project_id = noted.project_id and result_key = noted.result_key;
  perform public.finish_followers(shared);
  return cardinality(shared)
         + public.release_followers(noted.project_id, noted.result_key, noted.user_id)::integer;
end
$$;
revoke all on function public.settle_followers_of from public, anon, authenticated;
