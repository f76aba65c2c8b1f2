create trigger generations_stay_in_project before insert or update of project_id, based_on, parent_generation_id, pair_shot_generation_id
  on public.generations for each row execute function public.keep_generation_in_project();
create trigger variants_follow_generation before insert or update of generation_id, project_id
  on public.generation_variants for each row execute function public.keep_variant_with_generation();
create trigger make_variant_primary before insert or update of is_primary
  on public.generation_variants for each row when (new.is_primary) execute function public.make_variant_primary();
create trigger show_primary_variant
  after insert or update of is_primary, location, thumbnail_url, params, name on public.generation_variants
  for each row when (new.is_primary) execute function public.show_primary_variant();
create trigger promote_next_variant after delete on public.generation_variants
  for each row when (old.is_primary) execute function public.promote_next_variant();
create trigger change_primary_variant after update of location, thumbnail_url, name on public.generations
  for each row when (new.primary_variant_id is not null) execute function public.change_primary_variant();
create trigger shots_are_placed before insert on public.shots
  for each row execute function public.place_shot();
create trigger shot_generations_stay_in_project before insert or update of shot_id, generation_id
  on public.shot_generations for each row execute function public.keep_shot_generation_in_project();
create trigger rebuild_shot_data after insert or delete or update of shot_id, generation_id, timeline_frame
  on public.shot_generations for each row execute function public.rebuild_shot_data();
create trigger generations_note_update before update on public.generations
  for each row execute function public.note_update();
create trigger shots_note_update before update on public.shots
  for each row execute function public.note_update();
create trigger shot_generations_note_update before update on public.shot_generations
  for each row execute function public.note_update();
