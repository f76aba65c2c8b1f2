-- Notes how far the turns of a served lane's kinds have come, now and then: see turn_marks.
create or replace function public.move_turn_marks(stage text, lane public.task_lanes)
returns void
language plpgsql set search_path = '' as $$
declare
  apart constant integer := 256;
  of_kind constant text := case when stage like 'run type%' then lane.run_type else lane.task_type end;
  of_model constant text := case when stage like '%model' then lane.model end;
  passed constant bigint := public.turn_mark(of_kind, of_model);
  first_turn bigint;
begin
  if lane.turn <= passed + apart then
    return;
  end if;
  -- The first open lane, which need not be the one that was served.
  if stage = 'run type' then
    select turn into first_turn from public.task_lanes
     where is_open and run_type = of_kind and turn >= passed order by turn limit 1;
  elsif stage = 'run type and model' then
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
revoke all on function public.move_turn_marks from public, anon, authenticated;
