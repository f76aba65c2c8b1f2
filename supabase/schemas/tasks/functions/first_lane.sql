-- The first lane of a run type, with a model or of any, that no other claim is taking from; locked. What nearly every
-- claim asks for, in one probe of one index.
create or replace function public.first_lane(of_run_type text, of_model text)
returns public.task_lanes
language plpgsql set search_path = '' as $$
declare
  mark constant bigint := public.turn_mark(of_run_type, of_model);
  lane public.task_lanes;
begin
  if of_model is null then
    select * into lane from public.task_lanes
     where is_open and run_type = of_run_type and turn >= mark
     order by turn limit 1 for no key update skip locked;
  else
    select * into lane from public.task_lanes
     where is_open and run_type = of_run_type and model = of_model and turn >= mark
     order by turn limit 1 for no key update skip locked;
  end if;
  return lane;
end
$$;
revoke all on function public.first_lane from public, anon, authenticated;
