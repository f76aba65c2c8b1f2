-- A new version of an existing part. One that was asked for by the child's id is shown from now on unless
-- `make_primary_variant` says no; one that came to the same place is only if it says yes.
-- When the part is its parent's only one, the parent shows what it shows.
create or replace function public.make_segment_version(
  task public.tasks, type_row public.task_types, child public.generations, output_location text, output_thumbnail text,
  new_params jsonb, is_named boolean, warnings jsonb
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  shows constant boolean := case task.params -> 'make_primary_variant'
    when 'true' then true when 'false' then false else is_named end;
  is_only_child constant boolean := child.parent_generation_id is not null and not exists (
    select from public.generations
     where parent_generation_id = child.parent_generation_id and id <> child.id);
  variant uuid;
begin
  variant := public.add_variant(
    child.id, task, output_location, output_thumbnail,
    new_params || jsonb_build_object(
      'created_from', case when is_named then 'individual_segment_regeneration' else 'segment_variant_at_position' end),
    type_row.variant_type, shows, is_only_child and (shows or not is_named));
  if shows and is_only_child then
    perform public.add_variant(
      child.parent_generation_id, task, output_location, output_thumbnail,
      new_params || '{"created_from": "single_segment_propagation", "propagated_from_child": true}',
      'travel_segment', true);
  end if;
  return row(child.id, variant, warnings)::public.made_output;
end
$$;
revoke all on function public.make_segment_version from public, anon, authenticated;
