-- A shot of the caller's, locked; 404 when there is none that they may see.
create or replace function public.shot_to_change(of_shot uuid)
returns public.shots
language plpgsql set search_path = '' as $$
declare
  shot public.shots;
begin
  select * into shot from public.shots where id = of_shot for no key update;
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  return shot;
end
$$;
revoke all on function public.shot_to_change from public, anon, authenticated;
grant execute on function public.shot_to_change to authenticated, service_role;
