-- A run that was deleted leaves nothing to those who followed it.
create or replace function public.release_followers_of_deleted()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.release_followers(old.project_id, old.result_key, old.user_id);
  return null;
end
$$;
revoke all on function public.release_followers_of_deleted from public, anon, authenticated;
