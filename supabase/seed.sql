-- Task types and the first version of their prices, in micro-dollars: of one output (per_unit) or of one
-- second of work (per_second; 278 is one dollar an hour). What FAL can run is priced by the unit, so that each price covers what FAL
-- bills for the same: docs/credits.md. Repeating it changes nothing that exists.
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
  ('single_image', 'api', 'generation', 'image-generation', 'image', null, 600, true, false, 'Single image'),
  ('image_edit', 'gpu', 'generation', 'magic-edit', 'image', 'magic_edit', 600, false, false, 'Image edit'),
  ('edit_travel_kontext', 'gpu', 'generation', 'edit-travel', 'image', null, 600, false, false, 'Edit travel (Kontext)'),
  ('edit_travel_flux', 'gpu', 'generation', 'edit-travel', 'image', null, 600, false, false, 'Edit travel (Flux)'),
  ('lora_training', 'api', 'utility', 'training', null, null, 14400, false, false, 'LoRA training'),
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

-- What runs each type, until the type has a price. Shipped GPU workers run what they have a handler or a model for, shipped API workers
-- what they call an API for; _shared/worker/fal and worker/sandbox list theirs.
update public.task_types as kind set runners = array_remove(array[
    case when kind.name in (
      'travel_orchestrator', 'travel_segment', 'travel_stitch', 'individual_travel_segment', 'join_clips_orchestrator',
      'join_clips_segment', 'join_final_stitch', 'edit_video_orchestrator', 'qwen_image', 'qwen_image_2512', 'qwen_image_style',
      'z_image_turbo', 'z_image_turbo_i2i', 'image_inpaint', 'annotated_image_edit', 'qwen_image_edit', 'magic_edit',
      'wan_2_2_t2i', 'extract_frame', 'rife_interpolate_images', 'wgp') then 'gpu_worker' end,
    case when kind.name in (
      'qwen_image', 'qwen_image_2512', 'qwen_image_style', 'qwen_image_edit', 'z_image_turbo', 'image_inpaint',
      'annotated_image_edit', 'wan_2_2_t2i', 'wan_2_2_i2v', 'animate_character') then 'api_worker' end,
    case when kind.category <> 'call' and kind.name <> 'wgp' then 'fal' end,
    case when kind.category <> 'call' then 'sandbox' end], null)
 where kind.alias_of is null
   and not exists (select from public.task_type_prices as price where price.task_type = kind.name);

-- How long runs are expected to take. Of those that are paid by the second it is the estimate and the first hold.
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
       ('qwen-image'), ('qwen-image-2512'), ('z-image'), ('optimised-t2i'), ('flux-dev'), ('flux-schnell'), ('flux-pro'),
       ('kontext'), ('kontext-dev')
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
  -- An orchestrator costs what its parts cost; its own price is not charged.
  ('travel_orchestrator', 1, 'per_second', 278, '{}'),
  ('join_clips_orchestrator', 1, 'per_second', 278, '{}'),
  ('edit_video_orchestrator', 1, 'per_second', 278, '{}'),
  -- Films: five seconds, and a fifth for each more. The price covers the dearest model that FAL may run them by, up to 720p.
  ('travel_segment', 1, 'per_unit', 600000, '{"seconds": {"included": 5, "each": 0.2}, "resolution": {"480p": 1, "832x480": 1, "580p": 1, "720p": 1, "1280x720": 1, "1080p": 2.25, "1920x1080": 2.25, "2048x2048": 4.5, "4096x4096": 18}}'),
  ('individual_travel_segment', 1, 'per_unit', 600000, '{"seconds": {"included": 5, "each": 0.2}, "resolution": {"480p": 1, "832x480": 1, "580p": 1, "720p": 1, "1280x720": 1, "1080p": 2.25, "1920x1080": 2.25, "2048x2048": 4.5, "4096x4096": 18}}'),
  ('wan_2_2_i2v', 1, 'per_unit', 600000, '{"seconds": {"included": 5, "each": 0.2}}'),
  ('join_clips_segment', 1, 'per_unit', 600000, '{"seconds": {"included": 5, "each": 0.2}}'),
  ('edit_video_segment', 1, 'per_unit', 600000, '{"seconds": {"included": 5, "each": 0.2}}'),
  ('video_enhance', 1, 'per_unit', 300000, '{"seconds": {"included": 5, "each": 0.2}, "megapixels": {"included": 2, "each": 0.5}}'),
  ('animate_character', 1, 'per_unit', 450000, '{"resolution": {"480p": 1, "720p": 2}, "seconds": {"included": 5, "each": 0.2}}'),
  -- Stitches: a minute of film, and a hundredth for each second more.
  ('travel_stitch', 1, 'per_unit', 60000, '{"seconds": {"included": 60, "each": 0.01}}'),
  ('join_final_stitch', 1, 'per_unit', 60000, '{"seconds": {"included": 60, "each": 0.01}}'),
  -- Pictures: of the first megapixel, and half of it for each more. FAL counts a megapixel of 1024 × 1024 pixels as two begun ones.
  ('qwen_image', 1, 'per_unit', 48000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('qwen_image_2512', 1, 'per_unit', 60000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('qwen_image_style', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('z_image_turbo', 1, 'per_unit', 24000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('z_image_turbo_i2i', 1, 'per_unit', 24000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('image_inpaint', 1, 'per_unit', 72000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('annotated_image_edit', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('image_edit', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('qwen_image_edit', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('magic_edit', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('edit_travel_kontext', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('edit_travel_flux', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('wan_2_2_t2i', 1, 'per_unit', 84000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 0.5}}'),
  ('image_upscale', 1, 'per_unit', 20000, '{"resolution": {"2x": 1, "4x": 2, "8x": 4}}'),
  -- Of the first megapixel by the default model, and half of it for each more. The sizes are the one that is made where none is
  -- asked for, and the largest one. Each model's price covers its dearest endpoint at FAL: that with LoRAs, or from a picture.
  ('single_image', 1, 'per_unit', 84000, '{
    "megapixels": {"included": 1, "each": 0.5},
    "resolution": {"1024x1024": 1, "2048x2048": 1},
    "model": {
      "optimised-t2i": 1, "optimized-t2i": 1, "wan-2.2": 1, "wan-2.2-t2i": 1,
      "flux-dev": 1, "flux": 1, "flux-1-dev": 1,
      "flux-schnell": 0.1, "flux-1-schnell": 0.1,
      "flux-pro": 1.5, "flux-1.1-pro": 1.5, "flux-pro-1.1": 1.5,
      "kontext": 0.6, "flux-kontext": 0.6, "flux-kontext-pro": 0.6, "flux-pro-kontext": 0.6,
      "kontext-dev": 1, "flux-kontext-dev": 1,
      "qwen-image": 0.75, "qwen": 0.75,
      "qwen-image-2512": 0.75,
      "z-image": 0.3, "z-image-turbo": 0.3}}'),
  -- Of up to 1000 steps. FAL trains LoRAs of Flux.
  ('lora_training', 1, 'per_unit', 2500000, '{"model": {"flux-dev": 1, "flux": 1, "flux-1-dev": 1}}'),
  -- Tools.
  ('extract_frame', 1, 'per_unit', 20000, '{}'),
  ('generate_openpose', 1, 'per_unit', 30000, '{}'),
  ('rife_interpolate_images', 1, 'per_unit', 30000, '{}'),
  -- FAL has nothing for it: a GPU worker's time.
  ('wgp', 1, 'per_second', 278, '{}')
on conflict (task_type, version) do nothing;

-- What FAL bills, as far as it was known on 30 November 2026, from https://fal.ai/models/<model> and https://fal.ai/pricing. The
-- operator must check it: docs/fal.md. A megapixel is 1,000,000 pixels, each picture rounded up; a second is 16 frames of Wan's.
insert into public.provider_prices
  (provider, model, version, unit, price_microusd, variant_prices, minimum_units, job_fee_microusd, note, source_url)
select 'fal', model, 1, unit, price_microusd, variant_prices::jsonb, minimum_units, job_fee_microusd,
       concat_ws('; ', 'known on 2026-11-30', note), 'https://fal.ai/models/' || model
  from (values
    ('fal-ai/flux/dev', 'megapixel', 25000, '{}', 0, 0, null),
    ('fal-ai/flux-kontext/dev', 'megapixel', 25000, '{}', 0, 0, null),
    ('fal-ai/flux/dev/image-to-image', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/flux/schnell', 'megapixel', 3000, '{}', 0, 0, null),
    ('fal-ai/flux-lora', 'megapixel', 35000, '{}', 0, 0, null),
    ('fal-ai/flux-lora/image-to-image', 'megapixel', 35000, '{}', 0, 0, null),
    ('fal-ai/flux-kontext-lora', 'megapixel', 35000, '{}', 0, 0, null),
    ('fal-ai/flux-kontext-lora/text-to-image', 'megapixel', 35000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/v1.1', 'megapixel', 40000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/v1.1-ultra', 'image', 60000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext', 'image', 40000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext/multi', 'image', 40000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext/text-to-image', 'image', 40000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext/max', 'image', 80000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext/max/multi', 'image', 80000, '{}', 0, 0, null),
    ('fal-ai/flux-pro/kontext/max/text-to-image', 'image', 80000, '{}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/text-to-image', 'megapixel', 25000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan/v2.2-a14b/image-to-image', 'megapixel', 25000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan/v2.2-a14b/text-to-image/lora', 'megapixel', 35000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image', 'megapixel', 20000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-2512', 'megapixel', 20000, '{}', 0, 0, null),
    ('fal-ai/qwen-image/image-to-image', 'megapixel', 25000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-2512/lora', 'megapixel', 25000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-edit', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit/inpaint', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit/image-to-image', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit-2509', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit-2511', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit-plus', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/qwen-image-edit-lora', 'megapixel', 35000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-edit-2509-lora', 'megapixel', 35000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-edit-2511/lora', 'megapixel', 35000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-edit-plus-lora', 'megapixel', 35000, '{}', 0, 0, 'estimated'),
    ('fal-ai/z-image/turbo', 'megapixel', 5000, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/z-image/turbo/image-to-image', 'megapixel', 5000, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/z-image/turbo/inpaint', 'megapixel', 5000, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/z-image/turbo/lora', 'megapixel', 8500, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/z-image/turbo/image-to-image/lora', 'megapixel', 8500, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/z-image/turbo/inpaint/lora', 'megapixel', 8500, '{}', 0, 2500, 'the fee is for enable_prompt_expansion, and counted for every job'),
    ('fal-ai/esrgan', 'job', 15000, '{}', 0, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/seedvr/upscale/image', 'megapixel', 1000, '{}', 0, 0, null),
    ('fal-ai/seedvr/upscale/video', 'megapixel', 1000, '{}', 0, 0, null),
    ('fal-ai/topaz/upscale/image', 'job', 100000, '{}', 0, 0, 'estimated'),
    ('fal-ai/clarity-upscaler', 'megapixel', 30000, '{}', 0, 0, null),
    ('fal-ai/aura-sr', 'job', 15000, '{}', 0, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/flux-lora-fast-training', 'training_step', 2000, '{}', 0, 0, 'estimated'),
    ('fal-ai/flux-lora-portrait-trainer', 'training_step', 2000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-trainer', 'training_step', 2000, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-2512-trainer', 'training_step', 2000, '{}', 0, 0, 'estimated'),
    ('fal-ai/flux-kontext-trainer', 'training_step', 2500, '{}', 0, 0, 'estimated'),
    ('fal-ai/z-image-trainer', 'training_step', 2500, '{}', 0, 0, 'estimated'),
    ('fal-ai/qwen-image-edit-trainer', 'training_step', 2500, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan-22-image-trainer', 'training_step', 5000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan-trainer', 'training_step', 5000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan-trainer/t2v', 'training_step', 5000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan-trainer/i2v-720p', 'training_step', 5000, '{}', 0, 0, 'estimated'),
    ('fal-ai/wan/v2.2-a14b/image-to-video', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/text-to-video', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/video-to-video', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b/inpainting', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b/outpainting', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b/pose', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b/depth', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan-vace-14b/reframe', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan/v2.2-14b/animate/move', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan/v2.2-14b/animate/replace', 'second', 80000, '{"480p": 40000, "580p": 60000, "720p": 80000}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/image-to-video/lora', 'second', 100000, '{}', 0, 0, 'estimated: as text-to-video/lora'),
    ('fal-ai/wan/v2.2-a14b/text-to-video/lora', 'second', 100000, '{}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/image-to-video/turbo', 'job', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan/v2.2-a14b/text-to-video/turbo', 'job', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-22-vace-fun-a14b/inpainting', 'second', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-22-vace-fun-a14b/outpainting', 'second', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-22-vace-fun-a14b/pose', 'second', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-22-vace-fun-a14b/depth', 'second', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-22-vace-fun-a14b/reframe', 'second', 100000, '{"480p": 50000, "580p": 75000, "720p": 100000}', 0, 0, null),
    ('fal-ai/wan-flf2v', 'job', 500000, '{"480p": 250000, "720p": 500000}', 0, 0, 'of more than 81 frames, which FAL bills 1.25 times'),
    ('fal-ai/wan-i2v', 'job', 500000, '{"480p": 250000, "720p": 500000}', 0, 0, 'of more than 81 frames, which FAL bills 1.25 times'),
    ('fal-ai/framepack', 'second', 33300, '{}', 0, 0, 'estimated'),
    ('fal-ai/framepack/flf2v', 'second', 33300, '{}', 0, 0, 'estimated'),
    ('fal-ai/framepack/f1', 'second', 33300, '{}', 0, 0, 'estimated'),
    ('fal-ai/topaz/upscale/video', 'second', 160000, '{"720p": 20000, "1080p": 40000, "2160p": 160000}', 0, 0, 'estimated: at 60 frames a second, which FAL bills twice'),
    ('fal-ai/flashvsr/upscale/video', 'megapixel', 500, '{}', 0, 0, 'estimated'),
    ('fal-ai/ffmpeg-api/merge-videos', 'second', 200, '{}', 5, 0, 'merge-videos and images-to-video are listed with 0 by FAL'),
    ('fal-ai/ffmpeg-api/compose', 'second', 200, '{}', 5, 0, 'merge-videos and images-to-video are listed with 0 by FAL'),
    ('fal-ai/ffmpeg-api/extract-frame', 'second', 200, '{}', 5, 0, 'merge-videos and images-to-video are listed with 0 by FAL'),
    ('fal-ai/ffmpeg-api/metadata', 'second', 200, '{}', 5, 0, 'merge-videos and images-to-video are listed with 0 by FAL'),
    ('fal-ai/workflow-utilities/trim-video', 'second', 200, '{}', 5, 0, 'estimated: as fal-ai/ffmpeg-api'),
    ('fal-ai/workflow-utilities/scale-video', 'second', 200, '{}', 5, 0, 'estimated: as fal-ai/ffmpeg-api'),
    ('fal-ai/workflow-utilities/blend-video', 'second', 200, '{}', 5, 0, 'estimated: as fal-ai/ffmpeg-api'),
    ('fal-ai/workflow-utilities/extract-nth-frame', 'second', 200, '{}', 5, 0, 'estimated: as fal-ai/ffmpeg-api'),
    ('fal-ai/workflow-utilities/reverse-video', 'second', 200, '{}', 5, 0, 'estimated: as fal-ai/ffmpeg-api'),
    ('fal-ai/rife', 'job', 10000, '{}', 0, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/film', 'job', 10000, '{}', 0, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/dwpose', 'job', 10000, '{}', 0, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/rife/video', 'second', 2000, '{}', 5, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/film/video', 'second', 2000, '{}', 5, 0, 'estimated: FAL bills the seconds that it computes'),
    ('fal-ai/dwpose/video', 'second', 2000, '{}', 5, 0, 'estimated: FAL bills the seconds that it computes')
  ) as listed (model, unit, price_microusd, variant_prices, minimum_units, job_fee_microusd, note)
on conflict (provider, model, version) do nothing;

-- Which of FAL's models run which type, with a usual job of each: by these the doctor compares prices with costs.
insert into public.provider_models (task_type, provider, model, billed, units)
select task_type, 'fal', model, billed::jsonb, units::jsonb
  from (values
    ('qwen_image', 'fal-ai/qwen-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_2512', 'fal-ai/qwen-image-2512', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_2512', 'fal-ai/qwen-image-2512/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_style', 'fal-ai/qwen-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_style', 'fal-ai/qwen-image-edit-2509', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_style', 'fal-ai/qwen-image-edit-2509-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('z_image_turbo', 'fal-ai/z-image/turbo', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('z_image_turbo', 'fal-ai/z-image/turbo/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('z_image_turbo_i2i', 'fal-ai/z-image/turbo/image-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('z_image_turbo_i2i', 'fal-ai/z-image/turbo/image-to-image/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('image_inpaint', 'fal-ai/qwen-image-edit/inpaint', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('annotated_image_edit', 'fal-ai/qwen-image-edit-2509', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('annotated_image_edit', 'fal-ai/qwen-image-edit-2509-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('annotated_image_edit', 'fal-ai/qwen-image-edit-2511', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('annotated_image_edit', 'fal-ai/qwen-image-edit-2511/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/wan/v2.2-a14b/text-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "optimised-t2i"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/wan/v2.2-a14b/text-to-image/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "optimised-t2i"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/wan/v2.2-a14b/image-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "optimised-t2i"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux/dev', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "flux-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "flux-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-lora/image-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "flux-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux/schnell', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "flux-schnell"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-pro/v1.1', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "flux-pro"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-pro/kontext', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "kontext"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-pro/kontext/text-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "kontext"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-kontext/dev', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "kontext-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-kontext-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "kontext-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/flux-kontext-lora/text-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "kontext-dev"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/qwen-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "qwen-image"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/qwen-image/image-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "qwen-image"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/qwen-image-2512', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "qwen-image-2512"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/qwen-image-2512/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "qwen-image-2512"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/z-image/turbo', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "z-image"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/z-image/turbo/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "z-image"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/z-image/turbo/image-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "z-image"}', '{"images": 1, "megapixels": 2}'),
    ('single_image', 'fal-ai/z-image/turbo/image-to-image/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024", "model": "z-image"}', '{"images": 1, "megapixels": 2}'),
    ('lora_training', 'fal-ai/flux-lora-fast-training', '{"model": "flux-dev"}', '{"training_steps": 1000}'),
    ('image_upscale', 'fal-ai/esrgan', '{"images": 1, "scale": 2}', '{"images": 1}'),
    ('animate_character', 'fal-ai/wan/v2.2-14b/animate/move', '{"seconds": 5, "resolution": "720p"}', '{"seconds": 5, "variant": "720p"}'),
    ('animate_character', 'fal-ai/wan/v2.2-14b/animate/replace', '{"seconds": 5, "resolution": "720p"}', '{"seconds": 5, "variant": "720p"}'),
    ('travel_segment', 'fal-ai/wan/v2.2-a14b/image-to-video', '{"frames": 81, "seconds": 5, "resolution": "1280x720"}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('travel_segment', 'fal-ai/wan/v2.2-a14b/image-to-video/lora', '{"frames": 81, "seconds": 5, "resolution": "1280x720"}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('individual_travel_segment', 'fal-ai/wan/v2.2-a14b/image-to-video', '{"frames": 81, "seconds": 5, "resolution": "1280x720"}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('individual_travel_segment', 'fal-ai/wan/v2.2-a14b/image-to-video/lora', '{"frames": 81, "seconds": 5, "resolution": "1280x720"}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('wan_2_2_i2v', 'fal-ai/wan/v2.2-a14b/image-to-video', '{"seconds": 5}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('wan_2_2_i2v', 'fal-ai/wan/v2.2-a14b/image-to-video/lora', '{"seconds": 5}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('wan_2_2_i2v', 'fal-ai/wan/v2.2-a14b/image-to-video/turbo', '{"seconds": 5}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('video_enhance', 'fal-ai/flashvsr/upscale/video', '{"seconds": 5, "megapixels": 2}', '{"seconds": 5.0625, "megapixels": 170}'),
    ('video_enhance', 'fal-ai/film/video', '{"seconds": 5, "megapixels": 2}', '{"seconds": 25.0625, "megapixels": 841}'),
    ('join_clips_segment', 'fal-ai/wan/v2.2-a14b/image-to-video/lora', '{"gap_frames": 53, "context_frames": 8, "seconds": 5}', '{"seconds": 3.3125, "variant": "720p"}'),
    ('edit_video_segment', 'fal-ai/wan/v2.2-a14b/image-to-video/lora', '{"gap_frames": 53, "context_frames": 8, "seconds": 5}', '{"seconds": 3.3125, "variant": "720p"}'),
    ('join_clips_segment', 'fal-ai/wan-vace-14b', '{"gap_frames": 53, "context_frames": 8, "seconds": 5}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('edit_video_segment', 'fal-ai/wan-vace-14b', '{"gap_frames": 53, "context_frames": 8, "seconds": 5}', '{"seconds": 5.0625, "variant": "720p"}'),
    ('travel_stitch', 'fal-ai/ffmpeg-api/merge-videos', '{"seconds": 60}', '{"seconds": 60}'),
    ('join_final_stitch', 'fal-ai/ffmpeg-api/merge-videos', '{"seconds": 60}', '{"seconds": 60}'),
    ('qwen_image_edit', 'fal-ai/qwen-image-edit', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('qwen_image_edit', 'fal-ai/qwen-image-edit-2509-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('image_edit', 'fal-ai/qwen-image-edit', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('image_edit', 'fal-ai/qwen-image-edit-2509-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('magic_edit', 'fal-ai/qwen-image-edit', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('magic_edit', 'fal-ai/qwen-image-edit-2509-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('edit_travel_kontext', 'fal-ai/flux-pro/kontext', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('edit_travel_kontext', 'fal-ai/flux-kontext-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('edit_travel_flux', 'fal-ai/flux-kontext/dev', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('edit_travel_flux', 'fal-ai/flux-kontext-lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('wan_2_2_t2i', 'fal-ai/wan/v2.2-a14b/text-to-image', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('wan_2_2_t2i', 'fal-ai/wan/v2.2-a14b/text-to-image/lora', '{"images": 1, "megapixels": 1, "resolution": "1024x1024"}', '{"images": 1, "megapixels": 2}'),
    ('extract_frame', 'fal-ai/ffmpeg-api/extract-frame', '{"images": 1}', '{"seconds": 60}'),
    ('generate_openpose', 'fal-ai/dwpose', '{"images": 1}', '{"images": 1}'),
    ('rife_interpolate_images', 'fal-ai/rife', '{}', '{}'),
    ('rife_interpolate_images', 'fal-ai/film', '{}', '{}')
  ) as listed (task_type, model, billed, units)
on conflict (task_type, provider, model) do nothing;
