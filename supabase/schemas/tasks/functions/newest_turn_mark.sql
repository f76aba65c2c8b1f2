-- The newest mark of a kind, however young: what opens now enters the rotation there.
create or replace function public.newest_turn_mark(of_kind text, of_model text)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  mark bigint;
begin
  if of_model is null then
    select turn into mark from public.turn_marks where kind = of_kind and model is null order by turn desc limit 1;
  else
    select turn into mark from public.turn_marks where kind = of_kind and model = of_model order by turn desc limit 1;
  end if;
  return coalesce(mark, 0);
end
$$;
revoke all on function public.newest_turn_mark from public, anon, authenticated;
