-- The price book of tests, in place of the default prices: work by the second and by the unit in round figures, and providers that bill
-- nothing. Tests of the default prices put those back: see default-prices.ts.
begin;
set local session_replication_role = 'replica';
update public.task_type_prices as price
   set billing_type = book.billing_type::public.billing_type, price_microusd = book.price_microusd,
       cost_factors = book.cost_factors::jsonb
  from (values
    ('travel_orchestrator', 'per_second', 278, '{}'),
    ('travel_segment', 'per_second', 278, '{}'),
    ('travel_stitch', 'per_second', 278, '{"resolution": {"512x512": 1, "768x768": 1.5, "1024x1024": 2, "1536x1536": 4, "2048x2048": 8}}'),
    ('individual_travel_segment', 'per_second', 278, '{}'),
    ('wan_2_2_i2v', 'per_unit', 250000, '{"seconds": {"included": 5, "each": 0.2}}'),
    ('join_clips_orchestrator', 'per_second', 278, '{}'),
    ('join_clips_segment', 'per_second', 278, '{}'),
    ('join_final_stitch', 'per_second', 50, '{}'),
    ('edit_video_orchestrator', 'per_second', 278, '{}'),
    ('edit_video_segment', 'per_second', 278, '{}'),
    ('animate_character', 'per_unit', 200000, '{"resolution": {"480p": 1, "720p": 2}, "seconds": {"included": 5, "each": 0.2}}'),
    ('qwen_image', 'per_unit', 39000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('qwen_image_2512', 'per_unit', 26000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('qwen_image_style', 'per_unit', 30000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('z_image_turbo', 'per_unit', 6500, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('z_image_turbo_i2i', 'per_unit', 6500, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('image_inpaint', 'per_unit', 2000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('annotated_image_edit', 'per_unit', 2000, '{"images": {"included": 1, "each": 1}, "megapixels": {"included": 1, "each": 1}}'),
    ('image_upscale', 'per_unit', 20000, '{"resolution": {"2x": 1, "4x": 2, "8x": 4}}'),
    ('image_edit', 'per_unit', 30000, '{}'),
    ('edit_travel_kontext', 'per_unit', 50000, '{}'),
    ('edit_travel_flux', 'per_unit', 50000, '{}'),
    ('qwen_image_edit', 'per_unit', 30000, '{}'),
    ('magic_edit', 'per_unit', 30000, '{}'),
    ('wan_2_2_t2i', 'per_second', 278, '{}'),
    ('extract_frame', 'per_second', 278, '{}'),
    ('generate_openpose', 'per_second', 278, '{}'),
    ('rife_interpolate_images', 'per_second', 278, '{}'),
    ('wgp', 'per_second', 278, '{}')
  ) as book (task_type, billing_type, price_microusd, cost_factors)
 where price.task_type = book.task_type and price.version = 1;
update public.provider_prices set unit = 'job', price_microusd = 0, variant_prices = '{}', job_fee_microusd = 0;
commit;
