-- Ends a run with its output, in one transaction: the row, the generation or variant, the charge, the
-- dependants, and that others than the service can read its files (deliver_files()). Guarantees: one output and one charge, for the status is checked under the row's lock;
-- the same worker and attempt get the first answer again; everybody else 409, and nothing changes.
-- `output_path` and `thumbnail_path` name files in storage, `output_location` and `thumbnail_location` their URLs.
-- `output_text` is what the task says of its output: alone, a foreign URL or any text; beside a file, instead
-- of the file's URL. An output record is made of a file, or of a text that is a medium's URL.
-- `output_facts` is what is known of the output beside the task's params, and is kept with them. `more_outputs` are further
-- files of the same run, [{path, location, facts}]: all of them are kept, or nothing is. `output_warnings` says what could not be
-- done of what the task asked; it is stored with the task and with what is made of the output.
-- `checked_files` is what the check of the files' bytes found, by path: what is not a complete file of the kind that the task makes is
-- refused (output_fault()), and so is a file without a check.
-- More outputs than are billed are refused, unless the owner's own worker made them.
-- Outputs that a provider's safety checker made black come last, are not charged unless the price says so, and are flagged. Where
-- all are black and free, the run fails: see fail_blacked_out().
-- Tasks that follow this one end with it, up to twenty in its transaction; see docs/reuse.md.
create or replace function public.complete_task(
  for_user uuid, for_task uuid, output_path text default null, output_location text default null,
  thumbnail_path text default null, thumbnail_location text default null,
  for_worker text default null, for_attempt integer default null,
  output_text text default null, skip_generation boolean default false,
  output_facts jsonb default '{}', more_outputs jsonb default '[]', checked_files jsonb default '{}',
  output_warnings text[] default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task public.tasks;
  medium text := coalesce(output_location, output_text);
  outputs jsonb;
  black_outputs integer;
  blacked_out_is_free boolean := false;
  new_thumbnail text;
  -- The task with what is known of its output.
  described public.tasks;
  made public.made_output;
  asked_images numeric;
  media text[];
  extra jsonb;
  fault jsonb;
  more jsonb := '{}';
  result public.tasks;
  shared public.tasks[] := '{}';
begin
  perform public.lock_orchestrators(for_task);
  task := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
  if task.status = 'Complete' then
    return public.stored_completion(task);
  end if;
  asked_images := (task.billed ->> 'images')::numeric;
  if 1 + jsonb_array_length(more_outputs) > asked_images and task.in_cloud and not task.claimed_by_owner then
    perform public.refuse('too_many_outputs', 422, jsonb_build_object(
      'task_id', task.id, 'paid', asked_images, 'sent', 1 + jsonb_array_length(more_outputs)));
  end if;
  media := public.output_media(task.task_type);
  if output_path is not null then
    perform public.require_output(task, output_path, media, checked_files);
  end if;
  for extra in select value from jsonb_array_elements(more_outputs) loop
    perform public.require_output(task, extra ->> 'path', media, checked_files);
  end loop;
  if thumbnail_path is not null then
    -- Finished work is worth more than its thumbnail, whose upload may have failed.
    fault := public.output_fault(task, thumbnail_path, '{image}', checked_files);
    if fault is null then
      new_thumbnail := complete_task.thumbnail_location;
    elsif fault ->> 'code' = 'storage_unavailable' then
      perform public.require_output(task, thumbnail_path, '{image}', checked_files);
    else
      more := jsonb_build_object('warnings', jsonb_build_array(jsonb_build_object(
        'field', 'thumbnail_storage_path',
        'message', case fault ->> 'code'
          when 'output_not_found' then 'There is no such file; the task has no thumbnail.'
          when 'output_replaced' then 'The file was replaced while it was checked; the task has no thumbnail.'
          else format('The file %s; the task has no thumbnail.', fault ->> 'problem') end)));
    end if;
  end if;

  outputs := public.outputs_in_order(task.params, jsonb_build_array(jsonb_build_object(
    'path', output_path, 'location', output_location, 'facts', coalesce(output_facts, '{}'))) || more_outputs);
  black_outputs := (select count(*) from jsonb_array_elements(outputs) as output where output -> 'facts' ? 'blacked_out');
  if black_outputs > 0 then
    blacked_out_is_free := (select blacked_out_policy = 'free' from public.task_type_prices where id = task.price_id);
    if blacked_out_is_free and black_outputs = jsonb_array_length(outputs) then
      return public.fail_blacked_out(task, black_outputs);
    end if;
    if output_path is distinct from outputs -> 0 ->> 'path' then
      -- The thumbnail shows what is not shown now.
      new_thumbnail := null;
    end if;
    output_path := outputs -> 0 ->> 'path';
    output_location := outputs -> 0 ->> 'location';
    output_facts := outputs -> 0 -> 'facts';
    more_outputs := outputs - 0;
    medium := coalesce(output_location, output_text);
    more := more || jsonb_build_object('blacked_out', black_outputs, 'warnings',
      coalesce(more -> 'warnings', '[]') || jsonb_build_object('field', 'outputs', 'message', format(
        'The safety checker of the provider made %s of %s outputs black%s.', black_outputs, jsonb_array_length(outputs),
        case when blacked_out_is_free then '; they are not charged' else '' end)));
  end if;

  task.warnings := coalesce(output_warnings, '{}');
  described := public.with_warnings(task);
  described.params := described.params || output_facts;
  if asked_images > 1 then
    -- What is paid is what there is, though the task asked for more.
    task.result_data := jsonb_build_object('images', least(
      asked_images, jsonb_array_length(outputs) - case when blacked_out_is_free then black_outputs else 0 end));
  end if;
  if not skip_generation and (output_path is not null or public.is_media_url(medium)) then
    made := public.create_output(described, medium, new_thumbnail);
  end if;
  if output_path is not null and output_text is not null then
    more := more || jsonb_build_object('public_url', output_location);
  end if;
  if task.result_key is not null and not skip_generation and more_outputs = '[]' and public.is_result(task, output_path) then
    more := more || jsonb_strip_nulls(jsonb_build_object(
      'storage_path', output_path, 'thumbnail_path', case when new_thumbnail is not null then thumbnail_path end));
    result := task;
    result.output_location := coalesce(output_text, output_location);
    result.thumbnail_url := new_thumbnail;
    result.result_data := more;
    shared := public.share_result(result, 20);
  end if;
  perform public.deliver_files(
    task,
    array[output_path, case when new_thumbnail is not null then thumbnail_path end]
      || array(select value ->> 'path' from jsonb_array_elements(more_outputs)));
  perform public.deliver_named_files(task.id, output_text);
  task := public.finish_task(task, coalesce(output_text, output_location), new_thumbnail,
                             made.generation_id, made.variant_id);

  -- What the row does not say, for repeats of this call.
  if made.warnings <> '[]' then
    more := more || jsonb_build_object('warnings', coalesce(more -> 'warnings', '[]') || made.warnings);
  end if;
  if more_outputs <> '[]' then
    more := more || jsonb_build_object('more_outputs', public.add_more_outputs(task, made, more_outputs));
  end if;
  if more <> '{}' then
    update public.tasks set result_data = result_data || more where id = task.id returning * into task;
  end if;
  if task.result_key is not null then
    perform public.finish_followers(shared);
    perform public.release_followers(task.project_id, task.result_key, task.user_id);
  end if;
  return public.stored_completion(task);
end
$$;
revoke all on function public.complete_task from public, anon, authenticated;
grant execute on function public.complete_task to service_role;
