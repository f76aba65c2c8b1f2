-- What a task type makes: the kinds of file that may complete it. Null: a file of any kind, such as weights.
create or replace function public.output_media(for_type text)
returns text[]
language sql stable set search_path = '' as $$
  select case
           -- Runs whatever model its params name.
           when kind.name = 'wgp' then array['image', 'video']
           when kind.content_type is not null then array[kind.content_type]
         end
    from public.task_types as kind where kind.name = for_type
$$;
revoke all on function public.output_media from public, anon, authenticated;
