-- How many seconds of film some frames are, begun ones whole, at least one. They count at 16 frames a second, as providers bill them,
-- however fast the film is shown. The first frame begins the film and counts for nothing: models make 81 frames for five seconds.
create or replace function public.seconds_of_frames(frames numeric)
returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  return greatest(ceil((frames - 1) / 16), 1);
end
$$;
revoke all on function public.seconds_of_frames from public, anon, authenticated;
