-- Where the next image of a shot goes: at 0, else as far behind the last as its images are apart, 10 to 81 frames.
create or replace function public.next_frame(of_shot uuid)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  frames record;
begin
  select count(*) as images, min(timeline_frame) as first, max(timeline_frame) as last into frames
    from public.shot_generations where shot_id = of_shot and timeline_frame is not null;
  return case
    when frames.images = 0 then 0
    when frames.images = 1 then frames.last + 81
    else frames.last + least(greatest((frames.last - frames.first) / (frames.images - 1), 10), 81) end;
end
$$;
revoke all on function public.next_frame from public, anon, authenticated;
grant execute on function public.next_frame to authenticated, service_role;
