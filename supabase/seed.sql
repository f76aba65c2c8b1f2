-- Task types and the first version of their prices, in micro-dollars: of one output (per_unit) or of one
-- second (per_second; 278 is one dollar an hour). Repeating it changes nothing that exists.
insert into public.task_types
  (name, run_type, category, tool_type, content_type, variant_type, max_runtime_seconds, is_visible, supports_progress, display_name)
values
  ('travel_orchestrator', 'gpu', 'orchestration', 'travel-between-images', 'video', null, 14400, true, true, 'Travel between images'),
  ('travel_segment', 'gpu', 'processing', 'travel-between-images', 'video', 'travel_segment', 1200, false, false, 'Travel segment'),
  ('travel_stitch', 'gpu', 'processing', 'travel-between-images', 'video', 'travel_stitch', 1200, false, false, 'Travel stitch'),
  ('individual_travel_segment', 'gpu', 'generation', 'travel-between-images', 'video', 'individual_segment', 1200, true, false, 'Single travel segment'),
  ('wan_2_2_i2v', 'gpu', 'generation', 'travel-between-images', 'video', null, 1200, true, false, 'Turbo travel'),
  ('join_clips_orchestrator', 'gpu', 'orchestration', 'join-clips', 'video', null, 14400, true, true, 'Join clips'),
  ('join_clips_segment', 'gpu', 'processing', 'join-clips', 'video', 'join_clips_segment', 1200, false, false, 'Join segment'),
  ('join_final_stitch', 'gpu', 'generation', 'join-clips', 'video', 'join_final_stitch', 1200, false, false, 'Final stitch'),
  ('edit_video_orchestrator', 'gpu', 'orchestration', 'edit-video', 'video', null, 14400, true, true, 'Edit video'),
  ('edit_video_segment', 'gpu', 'processing', 'edit-video', 'video', null, 1200, false, false, 'Edit video segment'),
  ('video_enhance', 'api', 'generation', 'video-enhance', 'video', 'upscaled', 1800, true, false, 'Enhance video'),
  ('animate_character', 'api', 'generation', 'character-animate', 'video', null, 1800, true, false, 'Animate character'),
  ('qwen_image', 'api', 'generation', 'image-generation', 'image', null, 600, true, false, 'Qwen image'),
  ('qwen_image_2512', 'api', 'generation', 'image-generation', 'image', null, 600, true, false, 'Qwen image 2512'),
  ('qwen_image_style', 'api', 'generation', 'image-generation', 'image', null, 600, true, false, 'Qwen image with style'),
  ('z_image_turbo', 'api', 'generation', 'image-generation', 'image', null, 600, true, false, 'Z-Image turbo'),
  ('z_image_turbo_i2i', 'api', 'generation', 'edit-images', 'image', null, 600, true, false, 'Z-Image turbo, from an image'),
  ('image_inpaint', 'api', 'processing', 'processing', 'image', 'inpaint', 600, true, false, 'Inpaint'),
  ('annotated_image_edit', 'api', 'processing', 'processing', 'image', 'annotated_edit', 600, false, false, 'Annotated edit'),
  ('image_upscale', 'gpu', 'upscale', 'processing', 'image', 'upscaled', 600, false, false, 'Upscale'),
  ('single_image', 'gpu', 'generation', 'image-generation', 'image', null, 600, false, false, 'Single image'),
  ('image_edit', 'gpu', 'generation', 'magic-edit', 'image', 'magic_edit', 600, false, false, 'Image edit'),
  ('edit_travel_kontext', 'gpu', 'generation', 'edit-travel', 'image', null, 600, false, false, 'Edit travel (Kontext)'),
  ('edit_travel_flux', 'gpu', 'generation', 'edit-travel', 'image', null, 600, false, false, 'Edit travel (Flux)'),
  ('lora_training', 'gpu', 'utility', 'training', null, null, 14400, false, false, 'LoRA training'),
  ('qwen_image_edit', 'gpu', 'generation', 'magic-edit', 'image', 'magic_edit', 600, true, false, 'Qwen image edit'),
  ('magic_edit', 'gpu', 'generation', 'magic-edit', 'image', 'magic_edit', 600, false, false, 'Magic edit'),
  ('wan_2_2_t2i', 'gpu', 'generation', 'image-generation', 'image', null, 600, false, false, 'Wan 2.2 image'),
  ('extract_frame', 'gpu', 'utility', 'processing', 'image', null, 600, false, false, 'Extract frame'),
  ('generate_openpose', 'gpu', 'utility', 'processing', 'image', null, 600, false, false, 'OpenPose'),
  ('rife_interpolate_images', 'gpu', 'utility', 'processing', 'video', null, 600, false, false, 'Interpolate frames'),
  ('wgp', 'gpu', 'utility', 'processing', 'video', null, 1200, false, false, 'Raw generation'),
  -- Answered at once, never queued; free until a price is published.
  ('ai-prompt', 'api', 'call', null, null, null, 120, false, false, 'Prompt'),
  ('ai-voice-prompt', 'api', 'call', null, null, null, 120, false, false, 'Prompt by voice')
on conflict (name) do nothing;

insert into public.task_types (name, run_type, category, alias_of, display_name)
values ('image-upscale', 'gpu', 'upscale', 'image_upscale', 'Upscale')
on conflict (name) do nothing;

-- How long runs that are paid by the second are expected to take: their estimate and first hold. The others take what they cost.
update public.task_types as kind set expected_seconds = figures.seconds
  from (values ('travel_segment', 120), ('travel_stitch', 30), ('individual_travel_segment', 120),
               ('join_clips_segment', 120), ('join_final_stitch', 30), ('edit_video_segment', 120), ('wgp', 120),
               ('wan_2_2_t2i', 60), ('extract_frame', 5), ('generate_openpose', 20), ('rife_interpolate_images', 30))
       as figures (name, seconds)
 where kind.name = figures.name
   and not exists (select from public.task_type_prices as price where price.task_type = kind.name);

-- The models of the shipped workers and clients. An operator whose workers serve others adds them.
insert into public.known_models (model)
values ('wan_2_2_i2v_lightning_baseline_2_2_2'), ('wan_2_2_i2v_lightning_baseline_3_3'), ('wan-2.2'), ('vace_14B'),
       ('qwen-image'), ('qwen-image-2512'), ('z-image')
on conflict (model) do nothing;

-- Those whose picture or film is decided by params and seed, once: until they have a price.
update public.task_types as kind set is_reusable = true
 where name in (
   'qwen_image', 'qwen_image_2512', 'qwen_image_style', 'z_image_turbo', 'z_image_turbo_i2i', 'image_inpaint',
   'annotated_image_edit', 'single_image', 'image_edit', 'edit_travel_kontext', 'edit_travel_flux', 'qwen_image_edit',
   'magic_edit', 'wan_2_2_t2i', 'wan_2_2_i2v', 'animate_character')
   and not exists (select from public.task_type_prices as price where price.task_type = kind.name);

insert into public.task_type_prices (task_type, version, billing_type, price_microusd, cost_factors)
values
  ('travel_orchestrator', 1, 'per_second', 278, '{}'),
  ('travel_segment', 1, 'per_second', 278, '{}'),
  ('travel_stitch', 1, 'per_second', 278, '{"resolution": {"512x512": 1, "768x768": 1.5, "1024x1024": 2, "1536x1536": 4, "2048x2048": 8}}'),
  ('individual_travel_segment', 1, 'per_second', 278, '{}'),
  ('wan_2_2_i2v', 1, 'per_unit', 250000, '{"seconds": {"included": 5, "each": 0.2}}'),
  ('join_clips_orchestrator', 1, 'per_second', 278, '{}'),
  ('join_clips_segment', 1, 'per_second', 278, '{}'),
  ('join_final_stitch', 1, 'per_second', 50, '{}'),
  ('edit_video_orchestrator', 1, 'per_second', 278, '{}'),
  ('edit_video_segment', 1, 'per_second', 278, '{}'),
  ('video_enhance', 1, 'per_unit', 300000, '{"seconds": {"included": 5, "each": 0.2}, "megapixels": {"included": 2, "each": 0.5}}'),
  ('animate_character', 1, 'per_unit', 200000, '{"resolution": {"480p": 1, "720p": 2}, "seconds": {"included": 5, "each": 0.2}}'),
  ('qwen_image', 1, 'per_unit', 39000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('qwen_image_2512', 1, 'per_unit', 26000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('qwen_image_style', 1, 'per_unit', 30000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('z_image_turbo', 1, 'per_unit', 6500, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('z_image_turbo_i2i', 1, 'per_unit', 6500, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('image_inpaint', 1, 'per_unit', 2000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('annotated_image_edit', 1, 'per_unit', 2000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
  ('image_upscale', 1, 'per_unit', 20000, '{"resolution": {"2x": 1, "4x": 2, "8x": 4}}'),
  ('single_image', 1, 'per_unit', 25000, '{"resolution": {"512x512": 1, "768x768": 1.5, "1024x1024": 2, "1536x1536": 4, "2048x2048": 8}, "model_type": {"flux-dev": 1, "flux-pro": 2, "flux-schnell": 0.5}}'),
  ('image_edit', 1, 'per_unit', 30000, '{}'),
  ('edit_travel_kontext', 1, 'per_unit', 50000, '{}'),
  ('edit_travel_flux', 1, 'per_unit', 50000, '{}'),
  ('lora_training', 1, 'per_unit', 2500000, '{}'),
  ('qwen_image_edit', 1, 'per_unit', 30000, '{}'),
  ('magic_edit', 1, 'per_unit', 30000, '{}'),
  ('wan_2_2_t2i', 1, 'per_second', 278, '{}'),
  ('extract_frame', 1, 'per_second', 278, '{}'),
  ('generate_openpose', 1, 'per_second', 278, '{}'),
  ('rife_interpolate_images', 1, 'per_second', 278, '{}'),
  ('wgp', 1, 'per_second', 278, '{}')
on conflict (task_type, version) do nothing;
