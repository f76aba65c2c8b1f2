-- What a task that is not complete says to its owner names no file that is not theirs yet: see without_output_paths().
create or replace function public.hide_output_paths()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.output_location := public.without_output_paths(new.output_location);
  new.progress_message := public.without_output_paths(new.progress_message);
  new.error_message := public.without_output_paths(new.error_message);
  new.error_details := public.without_output_paths(new.error_details);
  return new;
end
$$;
revoke all on function public.hide_output_paths from public, anon, authenticated;
