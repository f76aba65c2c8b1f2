-- The next lanes for a claim that looks where its kinds of task are, best first, without those tried: one index probe a
-- kind (and model), however many lanes and tasks there are. Kinds are run types, and then models are named, or
-- task types. Of `late_types` lanes that are late.
create or replace function public.lanes_to_try(
  stage text, kinds text[], models text[], tried bigint[], page_size integer, late_types text[]
)
returns setof public.task_lanes
language plpgsql set search_path = '' as $$
begin
  if late_types <> '{}' and models is null then
    return query
      select next_lane.*
        from (select next_lane.*
                from unnest(kinds) as kind (name),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.task_type = kind.name
                                 and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane
              union all
              select next_lane.*
                from unnest(late_types) as kind (name),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.is_late and lane.task_type = kind.name
                                 and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane) as next_lane
       order by next_lane.turn limit page_size;
  elsif late_types <> '{}' then
    return query
      select next_lane.*
        from (select next_lane.*
                from unnest(kinds) as kind (name), unnest(models) as wanted (model),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.task_type = kind.name and lane.model = wanted.model
                                 and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane
              union all
              select next_lane.*
                from unnest(late_types) as kind (name), unnest(models) as wanted (model),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.is_late and lane.task_type = kind.name and lane.model = wanted.model
                                 and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane) as next_lane
       order by next_lane.turn limit page_size;
  elsif stage = 'overdue' and models is null then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.is_overdue and lane.task_type = kind.name
                         and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif stage = 'overdue' then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.is_overdue and lane.task_type = kind.name
                         and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif models is null then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.task_type = kind.name
                         and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif kinds <@ array['gpu', 'api'] then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.run_type = kind.name and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  else
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.task_type = kind.name and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  end if;
end
$$;
revoke all on function public.lanes_to_try from public, anon, authenticated;
