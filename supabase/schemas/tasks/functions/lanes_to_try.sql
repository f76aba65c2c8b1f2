-- The next lanes for a claim, best first, without those tried. Per task type and model one index probe,
-- however many lanes and tasks there are.
create or replace function public.lanes_to_try(
  for_user uuid, types text[], only_models text[], warm_model text, same_model_only boolean,
  tried bigint[], page_size integer
) returns table (lane_id bigint)
language plpgsql set search_path = '' as $$
begin
  if for_user is not null then
    -- An owner's worker: that user's ready lanes, a handful.
    return query
      select lane.id from public.task_lanes as lane
       where lane.user_id = for_user and lane.is_ready and lane.task_type = any (types)
         and (only_models is null or lane.model = any (only_models))
         and (not same_model_only or warm_model is null or lane.model = warm_model)
         and lane.id <> all (tried)
       order by (lane.model = warm_model) desc nulls last, lane.turn limit page_size;
    return;
  end if;

  if warm_model is not null and not same_model_only then
    return query
      select oldest.id
        from public.task_models as other,
             lateral (select lane.id, lane.oldest_ready_at from public.task_lanes as lane
                       where lane.is_open and lane.task_type = other.task_type and lane.model = other.model
                         and lane.id <> all (tried)
                       order by lane.oldest_ready_at limit 2) as oldest
       where other.task_type = any (types) and other.model <> warm_model
         and (only_models is null or other.model = any (only_models))
         and oldest.oldest_ready_at < now() - (select affinity_max_wait from public.queue_settings)
       order by oldest.oldest_ready_at limit page_size;
  end if;
  if warm_model is not null and (only_models is null or warm_model = any (only_models)) then
    return query
      select next_lane.id
        from unnest(types) as task_type,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.model = warm_model
                         and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  end if;
  if warm_model is not null and same_model_only then
    return;
  end if;
  if only_models is null then
    return query
      select next_lane.id
        from unnest(types) as task_type,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  else
    return query
      select next_lane.id
        from unnest(types) as task_type, unnest(only_models) as wanted,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.model = wanted.wanted
                         and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  end if;
end
$$;
revoke all on function public.lanes_to_try from public, anon, authenticated;
