-- A shot without a position comes last. The project's lock keeps two new ones from the same place.
create or replace function public.place_shot()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.position is null then
    perform from public.projects where id = new.project_id for no key update;
    new.position := (select coalesce(max(position), 0) + 1 from public.shots where project_id = new.project_id);
  end if;
  return new;
end
$$;
revoke all on function public.place_shot from public, anon, authenticated;
