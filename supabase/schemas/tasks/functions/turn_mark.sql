-- Where claims of a kind begin: see turn_marks. A mark counts after a second, so that a lane which opened while it
-- was made, at the mark before it, is not passed over.
create or replace function public.turn_mark(of_kind text, of_model text)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  mark bigint;
begin
  if of_model is null then
    select turn into mark from public.turn_marks
     where kind = of_kind and model is null and created_at < now() - interval '1 second'
     order by turn desc limit 1;
  else
    select turn into mark from public.turn_marks
     where kind = of_kind and model = of_model and created_at < now() - interval '1 second'
     order by turn desc limit 1;
  end if;
  return coalesce(mark, 0);
end
$$;
revoke all on function public.turn_mark from public, anon, authenticated;
