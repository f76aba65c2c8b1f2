-- What decides a task's output, as a hash: its type, and its params without what says where the output goes; in place of
-- each file in storage its content. What is not known to be beside the point counts. Null where the output is not
-- decided: without a seed, or with a file from elsewhere. At most 64 kB of params and 100 files are looked at.
create or replace function public.result_key(for_user uuid, for_task_type text, params jsonb)
returns bytea
language plpgsql stable set search_path = '' as $$
declare
  -- At the top and in orchestrator_details; docs/reuse.md lists them.
  beside_the_point constant text[] := array[
    'task_id', 'run_id', 'project_id', 'orchestrator_task_id', 'orchestrator_run_id', 'orchestrator_id', 'priority',
    'shot_id', 'shotId', 'add_in_position', 'generation_name', 'tool_type', 'generation_source',
    'based_on', 'source_variant_id', 'create_as_generation', 'generation_id', 'parent_generation_id',
    'child_generation_id', 'make_primary_variant', 'input_image_generation_ids', 'start_image_generation_id',
    'end_image_generation_id', 'pair_shot_generation_id', 'pair_shot_generation_ids',
    'main_output_dir_for_run', 'current_run_base_output_dir', 'debug_mode_enabled', 'show_input_images',
    'max_wait_seconds', 'enable_sync_mode', 'enable_base64_output'];
  decisive jsonb := jsonb_strip_nulls(params - beside_the_point);
  described text;
  files integer := 0;
  link text;
  content text;
begin
  if octet_length(params::text) > 65536 or not public.names_seed(params) then
    return null;
  end if;
  if jsonb_typeof(decisive -> 'orchestrator_details') = 'object' then
    decisive := jsonb_set(decisive, '{orchestrator_details}', (decisive -> 'orchestrator_details') - beside_the_point);
  end if;
  described := decisive::text;
  -- Values and names: LoRAs are named by URL. A space before it is no reason to believe that it is none.
  for link in
    select word from (
      select jsonb_path_query(decisive, 'strict $.** ? (@.type() == "string")') #>> '{}' as word
      union
      select jsonb_path_query(decisive, 'strict $.** ? (@.type() == "object").keyvalue().key') #>> '{}') as words
     where word ~* '^\s*([a-z][a-z0-9+.-]*:)?//' or word like '%/storage/v1/%'
  loop
    content := public.content_of_url(for_user, link);
    files := files + 1;
    if content is null or files > 100 then
      return null;
    end if;
    -- Quoted as it stands there; what takes its place is no JSON, so no params can say the same.
    described := replace(described, to_jsonb(link)::text, content);
  end loop;
  return sha256(convert_to(for_task_type || E'\n' || described, 'UTF8'));
end
$$;
revoke all on function public.result_key from public, anon, authenticated;
