-- How many children of which type an orchestrator's details ask for, at most 500 of a type, and what is said of some of them alone:
-- the frames of each segment, the frames of each join. Children of which the same is said are one row.
create or replace function public.planned_children(for_task_type text, params jsonb)
returns table (child_type text, child_count integer, own_params jsonb)
language plpgsql immutable set search_path = '' as $$
begin
  return query
    with plan as (
      select coalesce(params -> 'orchestrator_details', params) as details
    ), sizes as (
      select least(greatest(case when details ->> 'num_new_segments_to_generate' ~ '^\d{1,4}$'
                                 then (details ->> 'num_new_segments_to_generate')::integer else 1 end, 1), 500) as segments,
             least(greatest(
               case when jsonb_typeof(details -> 'clip_list') = 'array' then jsonb_array_length(details -> 'clip_list') else 0 end,
               case when jsonb_typeof(details -> 'segment_task_ids') = 'array' then jsonb_array_length(details -> 'segment_task_ids') else 0 end,
               2), 500) as clips,
             least(greatest(
               case when jsonb_typeof(details -> 'portions_to_regenerate') = 'array' then jsonb_array_length(details -> 'portions_to_regenerate') else 0 end,
               1), 500) as portions,
             jsonb_typeof(details -> 'stitch_config') = 'object' as stitches,
             -- As plans_stitch() has it, but for a stitch by joins.
             details -> 'use_svi' = 'true'
               or coalesce(details ->> 'model_type', 'vace') = 'vace' and details -> 'chain_segments' is distinct from 'false'
                  and details -> 'independent_segments' is distinct from 'true' as is_chained,
             -- The last clip is joined to the first as well.
             (coalesce(details -> 'stitch_config' -> 'loop_first_clip', details -> 'loop_first_clip') = 'true')::integer as loops
        from plan
    ), planned as (
    select planned.child_type, planned.child_count
      from sizes, lateral (values
        ('travel_orchestrator', 'travel_segment', segments),
        ('travel_orchestrator', 'travel_stitch', case when is_chained then 1 else 0 end),
        ('travel_orchestrator', 'join_clips_segment', case when stitches then greatest(segments - 1 + coalesce(loops, 0), 1) else 0 end),
        ('travel_orchestrator', 'join_final_stitch', case when stitches then 1 else 0 end),
        ('join_clips_orchestrator', 'join_clips_segment', clips - 1 + coalesce(loops, 0)),
        ('join_clips_orchestrator', 'join_final_stitch', 1),
        ('edit_video_orchestrator', 'join_clips_segment', portions),
        ('edit_video_orchestrator', 'join_final_stitch', 1)
      ) as planned (orchestrator_type, child_type, child_count)
     where planned.orchestrator_type = for_task_type and planned.child_count > 0
    )
    select part.child_type, count(*)::integer, part.own_params
      from (select planned.child_type, public.own_params_of_part(for_task_type, planned.child_type, plan.details, place) as own_params
              from plan, planned cross join lateral generate_series(0, planned.child_count - 1) as place) as part
     group by part.child_type, part.own_params
     order by part.child_type, part.own_params;
end
$$;
revoke all on function public.planned_children from public, anon, authenticated;
