/** The default price book: what FAL can run costs the user at least what FAL bills for the same, and is quoted exactly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { json, type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { falTaskTypes } from "../../../supabase/functions/_shared/worker/fal/recipes.ts";
import { assertNone } from "../../rules/assert-none.ts";
import { filesBelow, textOf } from "../../rules/sources.ts";
import { withDatabase } from "../../support/database.ts";
import { useDefaultPrices } from "../../support/default-prices.ts";
import { accountOf, claim, complete, createUser, queueTask, refusedWith } from "../../support/factories.ts";

const film = "fal-ai/wan/v2.2-a14b/image-to-video/lora";
/** Seconds at FAL of the shortest film that its model makes of at least so many frames. */
const falSeconds = (frames: string) => `greatest(17, 4 * ceil((${frames} - 1) / 4.0) + 1) / 16`;

/** How many of some orders cost FAL more than they cost the user. */
async function soldBelowCost(sql: Sql, orders: string): Promise<string[]> {
  return [
    ...(await sql.query<{ told: string }[]>(`
      with ordered as materialized (${orders}), priced as (
        select ordered.*, price_of_work(price, read_billed_values(price, params), 1, 1) as charge,
               cost_of_provider_call('fal', model, units) as cost
          from ordered cross join lateral current_price(task_type) as price)
      select concat_ws(' ', task_type, model, params, units, charge, cost) as told from priced
       where cost is null or cost > charge limit 5`)),
  ].map(({ told }) => told);
}

test("default prices of films cover the dearest model, of every length in frames", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    assertNone(
      await soldBelowCost(
        sql,
        `
        select task_type, '${film}' as model, jsonb_build_object('seconds', ${falSeconds("frames")}) as units,
               jsonb_build_object('segment_frames_target', frames, 'parsed_resolution_wh', size) as params
          from generate_series(1, 700, 3) as frames, unnest(array['480p', '902x508', '1280x720']) as size,
               unnest(array['travel_segment', 'individual_travel_segment']) as task_type
        union all
        select task_type, '${film}', jsonb_build_object('seconds', ${falSeconds("gap")}),
               jsonb_build_object('gap_frame_count', gap, 'context_frame_count', context)
          from generate_series(1, 700, 3) as gap, unnest(array[0, 8]) as context,
               unnest(array['join_clips_segment', 'edit_video_segment']) as task_type
        union all
        -- A film through many pictures is made in parts, each of 17 frames at least.
        select 'wan_2_2_i2v', '${film}', jsonb_build_object('seconds', greatest(16 * seconds + 4, 17 * passages) / 16.0),
               jsonb_build_object('duration', seconds, 'input_image_paths_resolved',
                                  (select jsonb_agg(picture) from generate_series(0, passages) as picture))
          from generate_series(1, 60) as seconds, generate_series(1, 60, 7) as passages
        union all
        select 'animate_character', 'fal-ai/wan/v2.2-14b/animate/move',
               jsonb_build_object('seconds', seconds, 'variant', size), jsonb_build_object('seconds', seconds, 'resolution', size)
          from generate_series(1, 60) as seconds, unnest(array['480p', '720p']) as size`,
      ),
      "FAL would bill more for these than their user pays:",
    );
  }));

test("default prices of pictures cover each of their models, of every size and number", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    assertNone(
      await soldBelowCost(
        sql,
        `
        select offer.task_type, offer.model,
               jsonb_build_object('images', images, 'megapixels', images * ceil(width * height / 1000000.0)) as units,
               jsonb_strip_nulls(jsonb_build_object('num_images', images, 'resolution', width || 'x' || height,
                                                    'model', offer.billed ->> 'model')) as params
          from provider_models as offer
          join task_types as kind on kind.name = offer.task_type and kind.content_type = 'image' and kind.category <> 'upscale'
          join task_type_prices as price on price.task_type = kind.name and price.cost_factors ? 'megapixels',
               generate_series(256, 2048, 256) as width, unnest(array[500, 1000, 1024, 1448, 2048]) as height,
               unnest(array[1, 4]) as images
         where images = 1 or price.cost_factors ? 'images'`,
      ),
      "FAL would bill more for these than their user pays:",
    );
  }));

test("every model that is named for FAL has a price, and every type that FAL runs a model with a usual job", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const named = filesBelow("supabase/functions/_shared/worker/fal", ".ts")
      .filter((file) => !file.endsWith(".test.ts"))
      .flatMap((file) =>
        [...textOf(file).matchAll(/"(fal-ai\/[a-z0-9._/-]+)"/g)].map(([, model]) => String(model)),
      );
    assert.ok(named.length > 10);
    const priced = new Set(
      (await sql<{ model: string }[]>`select model from provider_prices`).map(({ model }) => model),
    );
    assertNone(
      [...new Set(named)].filter((model) => !priced.has(model)),
      "supabase/seed.sql has no price of these models, so nothing runs there:",
    );
    const offered = await sql<{ task_type: string }[]>`select distinct task_type from provider_models`;
    const types = new Set(offered.map(({ task_type }) => task_type));
    const orchestrators = /_orchestrator$/;
    assertNone(
      falTaskTypes.filter((type) => !types.has(type) && !orchestrators.test(type)),
      "supabase/seed.sql has no provider_models of these types, so the doctor does not compare their price:",
    );
  }));

test("a travel is quoted and held by the frames of each segment, and its parts cost exactly that", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const user = await createUser(sql);
    const details = {
      num_new_segments_to_generate: 3,
      segment_frames_expanded: [81, 161, 81],
      parsed_resolution_wh: "902x508",
      model_type: "i2v",
      run_id: "travel",
    };
    const params = { orchestrator_details: details };
    // Five seconds, ten, five.
    const expected = 600_000 + 1_200_000 + 600_000;
    const [quote] = await sql<{ quote: Record<string, unknown> }[]>`
      select calculate_task_cost(null, 'travel_orchestrator', ${json(params)}) as quote`;
    assert.deepEqual(
      [quote?.quote["cost_microusd"], quote?.quote["hold_microusd"], quote?.quote["upper_bound_microusd"]],
      [expected, expected, expected],
    );
    const orchestrator = await queueTask(sql, user, { taskType: "travel_orchestrator", params });
    assert.equal((await accountOf(sql, user.userId)).held, expected);
    await claim(sql, "worker");
    for (const [index, frames] of details.segment_frames_expanded.entries()) {
      const part = {
        orchestrator_task_id_ref: orchestrator,
        orchestrator_details: details,
        segment_index: index,
        // The second says nothing: what its travel plans counts.
        ...(index !== 1 && { segment_frames_target: frames }),
      };
      const id = await queueTask(sql, user, { taskType: "travel_segment", params: part });
      const run = await claim(sql, "worker");
      assert.equal(run?.task_id, id);
      assert.equal(run.params["num_frames"], frames, "the worker is given what is paid");
      assert.equal((await accountOf(sql, user.userId)).held, expected, "its parts hold nothing beside it");
      // The last one ends the orchestration.
      await complete(sql, id, { attempt: 1 });
    }
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    const [charge] = await sql<{ amount: number }[]>`
      select -amount_microusd::int as amount from credits_ledger where task_id = ${orchestrator}`;
    assert.equal(charge?.amount, expected);
  }));

test("joins are quoted by their own frames, an edited film by its portions, and a stitch by what is stitched", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const quoteOf = async (taskType: string, details: Record<string, unknown>) => {
      const [row] = await sql<{ quote: Record<string, unknown> }[]>`
        select calculate_task_cost(null, ${taskType}, ${json({ orchestrator_details: details })}) as quote`;
      return [row?.quote["cost_microusd"], row?.quote["billed"]];
    };
    const clips = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ url: `https://x.example/${index}.mp4` }));
    const join = (gap: number, seconds: number) => ({
      images: 1,
      gap_frames: gap,
      context_frames: 8,
      seconds,
    });
    assert.deepEqual(
      await quoteOf("join_clips_orchestrator", {
        clip_list: clips(3),
        per_join_settings: [{ gap_frame_count: 145 }, {}],
      }),
      [
        1_200_000 + 600_000 + 60_000,
        {
          join_clips_segment: {
            tasks: 2,
            groups: [
              { ...join(53, 5), tasks: 1 },
              { ...join(145, 10), tasks: 1 },
            ],
          },
          join_final_stitch: { images: 1, seconds: 60, tasks: 1 },
        },
      ],
    );
    assert.deepEqual(
      await quoteOf("edit_video_orchestrator", {
        portions_to_regenerate: [
          { start_frame: 10, end_frame: 30 },
          { start_frame: 50, end_frame: 70 },
        ],
      }),
      [
        2 * 600_000 + 60_000,
        {
          join_clips_segment: { ...join(20, 3), tasks: 2 },
          join_final_stitch: { images: 1, seconds: 60, tasks: 1 },
        },
      ],
    );
    // Of ten clips and their transitions.
    const [ofTen] = await quoteOf("join_clips_orchestrator", { clip_list: clips(10) });
    assert.equal(ofTen, 9 * 600_000 + 60_000 * 2.4);
    // A chained travel is stitched.
    const [cost] = await quoteOf("travel_orchestrator", {
      num_new_segments_to_generate: 2,
      segment_frames_expanded: [81, 81],
      parsed_resolution_wh: "1280x720",
    });
    assert.equal(cost, 2 * 600_000 + 60_000);
    const refused = Promise.resolve(
      sql`select calculate_task_cost(null, 'travel_orchestrator', ${json({
        orchestrator_details: { num_new_segments_to_generate: 1, segment_frames_expanded: ["many"] },
      })})`,
    );
    assert.equal(await refusedWith(refused), "unpriced_value");
  }));
