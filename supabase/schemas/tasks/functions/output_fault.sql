-- Why a file cannot be an output of this task, as {code, reason, problem}; null when it can. `media` are the kinds of file that are
-- accepted, null for all. `checked_files` holds by path what the check of the files' bytes found, and of which version: an object
-- that has another size or tag now was replaced, and nobody knows what it holds. Called under the task's lock, which writers into its
-- folder wait for (keep_finished_files()): what is true here is true at the commit.
create or replace function public.output_fault(task public.tasks, path text, media text[], checked_files jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  -- First of all, for it refuses what the caller may not know about.
  is_stored constant boolean := public.output_is_stored(task, path);
  checked constant jsonb := checked_files -> path;
  state constant text := checked ->> 'state';
  medium constant text := checked ->> 'medium';
  stored jsonb;
begin
  if state = 'unsound' then
    return jsonb_build_object('code', 'invalid_output', 'reason', checked -> 'reason', 'problem', checked -> 'problem');
  end if;
  if state = 'sound' and media is not null and (medium is null or medium <> all (media)) then
    return jsonb_build_object('code', 'invalid_output', 'reason', 'wrong_kind', 'problem',
      format('is %s; a %s task makes %s',
             case when medium is null then 'not a known image or video format' else public.with_article(medium) end,
             task.task_type,
             (select string_agg(public.with_article(kind), ' or ') from unnest(media) as kind)));
  end if;
  if not is_stored then
    return '{"code": "output_not_found"}';
  end if;
  select metadata into stored from storage.objects where bucket_id = 'image_uploads' and name = path;
  if state = 'absent' and (stored ->> 'size')::bigint = 0 then
    return '{"code": "invalid_output", "reason": "empty", "problem": "is empty (0 bytes)"}';
  end if;
  if state is null then
    return '{"code": "invalid_output", "reason": "unchecked", "problem": "was not checked"}';
  end if;
  if state in ('absent', 'unreadable') then
    return '{"code": "storage_unavailable"}';
  end if;
  if state <> 'sound'
     or (checked ->> 'size')::bigint <> (stored ->> 'size')::bigint
     or checked ->> 'etag' <> translate(regexp_replace(stored ->> 'eTag', '^W/', ''), '"', '') then
    return '{"code": "output_replaced"}';
  end if;
  return null;
end
$$;
revoke all on function public.output_fault from public, anon, authenticated;
