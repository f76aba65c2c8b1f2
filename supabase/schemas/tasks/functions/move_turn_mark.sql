-- Notes how far the turns of a kind have come, now and then: see turn_marks. `taken_turn` is one that a claim took.
create or replace function public.move_turn_mark(of_kind text, of_model text, taken_turn bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  apart constant integer := 256;
  passed constant bigint := public.turn_mark(of_kind, of_model);
  first_turn bigint;
begin
  if taken_turn <= passed + apart then
    return;
  end if;
  -- The first that is open, which need not be the one that was served.
  if of_kind in ('gpu', 'api') and of_model is null then
    select turn into first_turn from public.user_turns
     where is_open and run_type = of_kind and turn >= passed order by turn limit 1;
  elsif of_kind in ('gpu', 'api') then
    select turn into first_turn from public.task_lanes
     where is_open and run_type = of_kind and model = of_model and turn >= passed order by turn limit 1;
  elsif of_model is null then
    select turn into first_turn from public.task_lanes
     where is_open and task_type = of_kind and turn >= passed order by turn limit 1;
  else
    select turn into first_turn from public.task_lanes
     where is_open and task_type = of_kind and model = of_model and turn >= passed order by turn limit 1;
  end if;
  if first_turn > passed + apart
     and first_turn > coalesce((select max(turn) from public.turn_marks
                                 where kind = of_kind and model is not distinct from of_model), 0) + apart then
    insert into public.turn_marks (kind, model, turn) values (of_kind, of_model, first_turn) on conflict do nothing;
  end if;
end
$$;
revoke all on function public.move_turn_mark from public, anon, authenticated;
