-- Refuses a completion for a fault of one of its files, with a message that names the file, what is wrong and what to do. The
-- refusal ends the transaction: nothing is charged, and the run goes on.
create or replace function public.require_output(task public.tasks, path text, media text[], checked_files jsonb)
returns void
language plpgsql stable set search_path = '' as $$
declare
  fault constant jsonb := public.output_fault(task, path, media, checked_files);
  details constant jsonb := jsonb_build_object('path', path);
begin
  case fault ->> 'code'
    when 'output_not_found' then
      perform public.refuse('output_not_found', 404, details);
    when 'output_replaced' then
      perform public.refuse('output_replaced', 409, details);
    when 'storage_unavailable' then
      perform public.refuse('storage_unavailable', 503, details || '{"retry_after": 2}');
    when 'invalid_output' then
      perform public.refuse('invalid_output', 422, details || jsonb_build_object(
        'reason', fault -> 'reason',
        'message', format('The output file "%s" %s. Upload the right file, then complete the task again.',
                          path, fault ->> 'problem')));
    else
      null;
  end case;
end
$$;
revoke all on function public.require_output from public, anon, authenticated;
