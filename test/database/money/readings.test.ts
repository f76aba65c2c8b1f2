/** Check 62: what the price reads in params, what a claim gives, what FAL is asked for and what shipped workers read are one. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { falRequest, mappings } from "../../../supabase/functions/_shared/worker/fal/models.ts";
import { megapixel } from "../../../supabase/functions/_shared/worker/fal/paid-inputs.ts";
import { BadParams } from "../../../supabase/functions/_shared/worker/fal/params.ts";
import { pictureRequests } from "../../../supabase/functions/_shared/worker/fal/pictures/picture.ts";
import { pictures } from "../../../supabase/functions/_shared/worker/fal/pictures/recipes.ts";
import { upscaleRequest } from "../../../supabase/functions/_shared/worker/fal/pictures/upscales.ts";
import { withDatabase } from "../../support/database.ts";
import { useDefaultPrices } from "../../support/default-prices.ts";
import {
  type Billed,
  exactCost,
  type PricedType,
  type PublishedPrice,
  readBilled,
  sizeOf,
  Unpriced,
} from "../../support/exact-prices.ts";
import { claim, createUser, refusedWith, type TestUser } from "../../support/factories.ts";
import { randomFrom } from "../../support/orders.ts";
import { pricedOrders } from "../../support/priced-orders.ts";
import { shippedReading } from "../../support/shipped-worker/reading.ts";

type Params = Record<string, unknown>;
type Random = () => number;

/** How many params are read; all 100,000 by DARKROOM_CHECK_RUNS=100000. */
const runs = Number(process.env["DARKROOM_CHECK_RUNS"] ?? 12_000);
const atOnce = 2_000;

test("check 62: odd values, other names and unlisted values cost the same by create_task and by REST, and are what the worker gets", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000_000);
    const browser = await database.sessionAs("authenticated", { sub: user.userId });
    const ways: [string, (taskType: string, params: Params) => Promise<string>][] = [
      ["create_task", (taskType, params) => created(sql, user, taskType, params)],
      [
        "REST",
        async (taskType, params) => {
          const id = randomUUID();
          const text = `insert into tasks (id, project_id, task_type, params) values ($1, $2, $3, $4::text::jsonb)`;
          await browser.query(text, [id, user.projectId, taskType, JSON.stringify(params)]);
          return id;
        },
      ],
    ];
    for (const [way, create] of ways) {
      for (const [taskType, params, outcome, given] of pricedOrders) {
        const told = `${way}: ${taskType} ${JSON.stringify(params).slice(0, 200)}`;
        const all = { prompt: "a fox", ...params };
        if (typeof outcome === "string") {
          assert.equal(await refusedWith(create(taskType, all)), outcome, told);
          continue;
        }
        const id = await create(taskType, all);
        const [row] = await sql<{ params: Params; held: number; quoted: number }[]>`
          select task.params, hold.amount_microusd::int as held,
                 (calculate_task_cost(null, task.task_type, task.params) -> 'cost_microusd')::int as quoted
            from tasks as task join credit_holds as hold on hold.task_id = task.id where task.id = ${id}`;
        assert.deepEqual([row?.held, row?.quoted], [outcome, outcome], told);
        assert.deepEqual(row?.params, all, `${told}: stored as it was sent`);
        const run = await claim(sql, "worker");
        assert.equal(run?.task_id, id, told);
        assert.deepEqual({ ...run.params, ...given }, run.params, told);
        const [output] = await sql<
          { params: Params }[]
        >`select get_task_output(null, ${id}) -> 'params' as params`;
        assert.deepEqual(output?.params, run.params, told);
        await sql`select end_task(${id}, 'Cancelled', 'enough')`;
      }
    }
  }));

test("check 62: a refusal names the parameter and the allowed values", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const refusals: [string, Params, Params][] = [
      [
        "animate_character",
        { resolution: "580p" },
        { parameter: "resolution", value: "580p", allowed: ["480p", "720p"] },
      ],
      [
        "image_upscale",
        { upscale_factor: 9 },
        { parameter: "upscale_factor", value: "9x", allowed: ["2x", "4x", "8x"] },
      ],
      [
        "qwen_image",
        { orchestrator_details: { num_generations: "four" } },
        {
          parameter: "orchestrator_details.num_generations",
          value: "four",
          allowed: ["a whole number from 1 to 16"],
        },
      ],
      [
        "qwen_image",
        { resolution: "0x2048" },
        {
          parameter: "resolution",
          value: "0x2048",
          allowed: ["WIDTHxHEIGHT with sides from 1 to 16384"],
        },
      ],
      [
        "qwen_image",
        { num_images: 1, num_generations: 2 },
        { parameters: ["num_images", "num_generations"], values: [1, 2] },
      ],
    ];
    for (const [taskType, params, details] of refusals) {
      const error: unknown = await created(sql, user, taskType, params).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      const detail = JSON.parse(String((error as { detail?: unknown }).detail)) as Params;
      assert.deepEqual(detail, { task_type: taskType, ...details });
    }
  }));

test("check 62: children of an orchestrator are read like any task, and an orchestrator's plan like its children", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const details = (resolution: string) => ({
      orchestrator_details: { num_new_segments_to_generate: 1, parsed_resolution_wh: resolution },
    });
    assert.equal(
      await refusedWith(created(sql, user, "travel_orchestrator", details("4096x4096"))),
      "unpriced_value",
    );
    const orchestrator = await created(sql, user, "travel_orchestrator", details("902X508"));
    await claim(sql, "worker");
    const stitch = (resolution: unknown) =>
      created(sql, user, "travel_stitch", {
        orchestrator_task_id_ref: orchestrator,
        parsed_resolution_wh: resolution,
        full_orchestrator_payload: { parsed_resolution_wh: "1024x1024" },
      });
    assert.equal(await refusedWith(stitch("4096x4096")), "unpriced_value");
    const child = await stitch("902X508");
    const [{ billed } = {}] = await sql<{ billed: Billed }[]>`select billed from tasks where id = ${child}`;
    assert.deepEqual(billed, { resolution: "902x508" });
    const [{ children } = {}] = await sql<{ children: { params: Params }[] }[]>`
      select get_orchestrator_children(null, ${orchestrator}) -> 'tasks' as children`;
    assert.equal(children?.[0]?.params["parsed_resolution_wh"], "902x508");
    assert.deepEqual(children[0].params["full_orchestrator_payload"], { parsed_resolution_wh: "902x508" });
  }));

test("check 62: where sizes of joins have a price, their workers are still given the list of two numbers that they read", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await sql`select publish_price('join_clips_segment', 'per_second', 278,
      '{"resolution": {"1280x720": 1, "1920x1080": 2}}', null, 'ada', 'full HD costs twice', 'joins')`;
    for (const resolution of [[902, 508], "902X508"]) {
      const params = { resolution, orchestrator_details: { resolution, parsed_resolution_wh: "902x508" } };
      const id = await created(sql, user, "join_clips_segment", params);
      const run = await claim(sql, "worker");
      assert.equal(run?.task_id, id);
      assert.deepEqual(run.params, {
        resolution: [902, 508],
        parsed_resolution_wh: "902x508",
        orchestrator_details: { resolution: [902, 508], parsed_resolution_wh: "902x508" },
      });
    }
  }));

test("check 62: a task that is retried, or sent twice, keeps what was billed whatever prices do meanwhile", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const params = { image: "x", scale: 8 };
    const id = await created(sql, user, "image_upscale", params);
    await sql`
      select publish_price('image_upscale', 'per_unit', 20000, '{"resolution": {"2x": 1}}', null, 'ada', 'less', 'less')`;
    await claim(sql, "worker");
    await sql`select end_task(${id}, 'Failed', 'once more')`;
    await sql`select retry_task(task) from tasks as task where id = ${id}`;
    const run = await claim(sql, "worker");
    assert.deepEqual([run?.task_id, run?.params["scale_factor"]], [id, 8]);
    assert.equal(await refusedWith(created(sql, user, "image_upscale", params)), "unpriced_value");
  }));

test("check 62: a quote is for the values that it read, and for no others", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const quote = async (params: Params, isOfFamily: boolean) => {
      const [row] = await sql<{ quote: { quote_id: string; billed: Billed } }[]>`
        select calculate_task_cost(${user.userId}, 'image_upscale', ${sql.json(params as never)}, ${isOfFamily}) as quote`;
      return row?.quote;
    };
    const create = (params: Params, quoteId: string | undefined) =>
      created(sql, user, "image_upscale", params, { quote_id: quoteId ?? "" });
    const family = await quote({ image: "a", scale_factor: 4 }, true);
    assert.deepEqual(family?.billed, { images: 1, scale: 4 });
    await create({ image: "b", upscale_factor: "4.0" }, family.quote_id);
    assert.equal(
      await refusedWith(create({ image: "b", scale_factor: 8 }, family.quote_id)),
      "quote_mismatch",
    );
    const own = await quote({ image: "a", scale_factor: 4 }, false);
    assert.equal(await refusedWith(create({ image: "a", scale: 4 }, own?.quote_id)), "quote_mismatch");
    await create({ image: "a", scale_factor: 4 }, own?.quote_id);
  }));

test("check 62: no more outputs are taken than are paid; an owner's own worker may make more", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const outputs = (count: number) => ({
      more: Array.from({ length: count - 1 }, (_, index) => ({ path: `a/${index}`, location: `x/${index}` })),
    });
    const complete = (id: string, count: number, forUser: string | null = null) =>
      sql`select complete_task(for_user => ${forUser}, for_task => ${id}, skip_generation => true,
                               output_text => 'https://media.example/made.png',
                               more_outputs => ${sql.json(outputs(count).more)})`;
    for (const [taskType, params, paid] of [
      ["qwen_image", { num_generations: 2 }, 2],
      ["qwen_image", {}, 1],
      ["animate_character", {}, 1],
      ["magic_edit", {}, 1],
    ] as const) {
      const id = await created(sql, user, taskType, params);
      await claim(sql, "worker");
      assert.equal(await refusedWith(complete(id, paid + 1)), "too_many_outputs", taskType);
      const [row] = await sql`select status from tasks where id = ${id}`;
      assert.equal(row?.["status"], "In Progress");
      await complete(id, 1);
    }
    const own = await created(sql, user, "qwen_image", {});
    await claim(sql, "mine", user.userId);
    // Not refused for their number, but for their paths.
    assert.equal(await refusedWith(complete(own, 3, user.userId)), "forbidden");
  }));

test("check 62: of random and hostile params, the price's reading, the claim's params, FAL's request and the shipped worker's reading are one", (context) =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(62);
    await useDefaultPrices(sql);
    const types = await sql<(PricedType & { seeded: PublishedPrice })[]>`
      select name, category, content_type, to_jsonb(current_price(name)) as seeded from task_types
       where alias_of is null and category not in ('call', 'orchestration') order by name`;
    await sql`
      create function reading_of(price task_type_prices, params jsonb) returns jsonb language plpgsql as $$
      declare billed jsonb;
      begin
        billed := read_billed_values(price, params);
        return jsonb_build_object(
          'billed', billed::billed_values, 'cost', price_of_work(price, billed, 1, 1),
          'given', params_of_run(price.task_type, params, billed),
          'again', read_billed_values(price, params_of_run(price.task_type, params, billed)));
      exception when sqlstate 'PT422' then
        return jsonb_build_object('refused', sqlerrm);
      end $$`;
    const counted = { read: 0, refused: 0, asked: 0, refusedByFal: 0 };
    for (let at = 0; at < runs; at += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, runs - at) }, (_, index) => {
        const type = types[(at + index) % types.length] as (typeof types)[number];
        const price = random() < 0.6 ? type.seeded : { ...type.seeded, cost_factors: factors(random) };
        // Both name the model there, so a price has one of them.
        if (type.name === "single_image" && price.cost_factors["model"])
          delete price.cost_factors["model_type"];
        return { type, price, params: hostileParams(random) };
      });
      const answers = await sql<{ reading: Reading }[]>`
        select reading_of(jsonb_populate_record(null::task_type_prices, price), params::jsonb) as reading
          from unnest(${batch.map(({ price }) => JSON.stringify(price))}::jsonb[], ${batch.map(({ params }) => params)}::text[])
                 with ordinality as given (price, params, position) order by position`;
      for (const [place, { reading }] of answers.entries()) {
        const { type, price, params: text } = batch[place] as (typeof batch)[number];
        const told = `${type.name} ${JSON.stringify(price.cost_factors)} ${text.slice(0, 2_000)} -> ${JSON.stringify(reading)}`;
        const expected = readingExpected(type, price, JSON.parse(text) as Params);
        assert.equal(reading.refused === undefined, expected !== undefined, told);
        if (expected === undefined) {
          assert.ok(["unpriced_value", "contradicting_values"].includes(reading.refused ?? ""), told);
          counted.refused++;
          continue;
        }
        counted.read++;
        const { billed = {}, given = {} } = reading;
        assert.deepEqual(billed, expected, told);
        assert.equal(BigInt(reading.cost ?? -1), exactCost(price, expected, 1_000_000n, 1n), told);
        assert.deepEqual(reading.again, billed, `${told}: what is given reads the same`);
        for (const [quantity, read] of Object.entries(shippedReading(type.name, given))) {
          const paid = billed[quantity as "images"];
          // Only pictures are made several at a time.
          if (quantity === "images" && type.content_type !== "image") continue;
          if (paid !== undefined) assert.equal(read, paid, `${told}: the shipped worker reads ${quantity}`);
        }
        if (!askedTypes.includes(type.name)) continue;
        const asked = askedOfFal(type.name, given, billed);
        if (asked === undefined) counted.refusedByFal++;
        else {
          assertPaid(asked, billed, told);
          counted.asked++;
        }
      }
    }
    assert.ok(
      counted.read > runs / 10 && counted.refused > runs / 10 && counted.asked > runs / 100,
      JSON.stringify(counted),
    );
    context.diagnostic(
      `${runs} params: ${counted.read} read alike by all, ${counted.refused} refused; of FAL's types ${counted.asked} asked for ` +
        `as paid, ${counted.refusedByFal} refused by the mapping`,
    );
  }));

interface Reading {
  refused?: string;
  billed?: Billed;
  cost?: number;
  given?: Params;
  again?: Billed;
}

async function created(
  sql: Sql,
  { projectId }: TestUser,
  taskType: string,
  params: Params,
  more: Record<string, string> = {},
): Promise<string> {
  const request = { task_type: taskType, params, project_id: projectId, ...more };
  const [row] = await sql<{ id: string }[]>`
    select create_task(null, ${sql.json([request] as never)}, false) ->> 'task_id' as id`;
  return row?.id ?? "";
}

function readingExpected(type: PricedType, price: PublishedPrice, params: Params): Billed | undefined {
  try {
    return readBilled(type, price, params);
  } catch (error) {
    if (error instanceof Unpriced) return undefined;
    throw error;
  }
}

const files = {
  prompt: "a fox",
  image: "https://media.example/a.png",
  image_url: "https://media.example/a.png",
  mask_url: "https://media.example/m.png",
  character_image_url: "https://media.example/a.png",
  motion_video_url: "https://media.example/a.mp4",
};

const askedTypes = [...Object.keys(mappings), ...Object.keys(pictures), "image_upscale"];

/** What FAL is asked for, by each job; undefined where the mapping refuses the params, and nothing is paid. */
function askedOfFal(taskType: string, given: Params, billed: Billed): Params[] | undefined {
  const params = { ...given, ...files };
  const picture = pictures[taskType];
  try {
    if (taskType === "image_upscale") return [upscaleRequest(params).request.input];
    if (!picture) return [falRequest(taskType, params).input];
    return pictureRequests(picture, params, billed).requests.map(({ input }) => input);
  } catch (error) {
    if (error instanceof BadParams) return undefined;
    throw error;
  }
}

function assertPaid(jobs: Params[], billed: Billed, told: string): void {
  // A larger picture is one, and what comes is what is charged.
  const isUpscale = told.startsWith("image_upscale");
  if (billed.images !== undefined && !isUpscale) {
    const images = jobs.reduce((sum, asked) => sum + Number(asked["num_images"] ?? 1), 0);
    assert.equal(images, billed.images, told);
  }
  for (const asked of jobs) assertSizePaid(asked, billed, told);
}

function assertSizePaid(asked: Params, billed: Billed, told: string): void {
  if (billed.scale !== undefined) assert.equal(asked["scale"], billed.scale, told);
  const size = asked["image_size"];
  if (billed.resolution !== undefined && typeof asked["resolution"] === "string") {
    assert.equal(asked["resolution"], billed.resolution, told);
  }
  if (billed.resolution !== undefined && size !== undefined) {
    const { width, height } =
      typeof size === "string"
        ? { width: sizeOf(size) ?? 0, height: 1 }
        : (size as { width: number; height: number });
    assert.equal(width * height, sizeOf(billed.resolution), told);
  }
  if (billed.megapixels !== undefined && typeof size === "object") {
    const { width, height } = size as { width: number; height: number };
    assert.ok(width * height <= billed.megapixels * megapixel, told);
  }
}

/** Up to all kinds of factors. */
function factors(random: Random): PublishedPrice["cost_factors"] {
  const decimal = (most: number) => Math.round(random() * most * 10_000) / 10_000;
  const one = <Item>(...items: readonly Item[]) => items[Math.floor(random() * items.length)] as Item;
  const all: PublishedPrice["cost_factors"] = {
    resolution: one<Record<string, number>>(
      { "480p": 1, "720p": 2 },
      { "902x508": decimal(4), "512x512": 1, "1920x1080": decimal(4), square: 1 },
      { "2x": 1, "4x": decimal(3), "8x": 4, "1024x1024": 1 },
      { Wide: 1, "1024x1024": 2 },
    ),
    model: { fast: decimal(2), Large: decimal(8), each: decimal(3) },
    model_type: { "flux-pro": 2, "flux-schnell": 0.5, vace: one(1, 2), included: 1 },
    frames: { included: one(0, 16, 81, 80.5), each: decimal(0.1) },
    images: { included: 1, each: one(0, 0.75, 1) },
    seconds: { included: one(0, 5, 2.5), each: decimal(0.5) },
    megapixels: { included: one(1, 2, 0.5), each: decimal(2) },
  };
  return Object.fromEntries(Object.entries(all).filter(() => random() < 0.3));
}

/** JSON as texts, for what a number looks like is lost in one. */
const oddValues = [
  '""',
  "null",
  '" 4"',
  '"+4"',
  '"4e0"',
  '"4.0000000000"',
  '"4.00000000000"',
  "4.0000000000",
  '["4"]',
  "[4]",
  "4.0",
  '"4"',
  "true",
  "false",
  "-1",
  "-0",
  "0",
  "1e308",
  "1e-300",
  "123456789012345678901234567890",
  '"NaN"',
  '"Infinity"',
  '"0x10"',
  '"1_0"',
  '"４"',
  '"٤"',
  "{}",
  "[]",
  '{"width": 902, "height": 508}',
  '{"width": "902", "height": 508}',
  '{"width": {"a": 1}}',
  `"${"9".repeat(400)}"`,
  `"${"x".repeat(5_000)}"`,
  '"\\u0001"',
  '"4\\n"',
];
const valuesOf: Record<string, readonly string[]> = {
  count: ["1", "2", "3", "4", "16", "17", "2.5", '"1"', '"2.0"', "81", "97"],
  lengths: [
    "[81]",
    "[49, 61, 97]",
    '["81", null, ""]',
    "[81, 2.5]",
    "[]",
    "[100000, 100000, 100000, 100000]",
    "81",
  ],
  list: ['["a", "b"]', '["a", "b", "c", "d", "e", "f", "g"]', "[]", '"a"', "{}"],
  seconds: ["1", "5", "5.5", "10", '"7.25"', "3600", "3601", "0.001"],
  scale: ["1", "2", "4", "8", "7.99", "2.5", '"8.0"', '"4x"', '"8X"', "0.5", "9", '"x"', '".5x"', '"1.2.3x"'],
  size: [
    '"580p"',
    '"720P"',
    '" 720p"',
    "720",
    '"720"',
    '"480p"',
    '"auto"',
    '"AUTO"',
    '"x"',
    '"2x"',
    '"902x508"',
    '"902X508"',
    '"902 x 508"',
    '"2048x2048"',
    '"2048*2048"',
    '"1024×1024"',
    '"1025x1024"',
    '"square_hd"',
    '"landscape_16_9"',
    "[902, 508]",
    '["902", 508]',
    "[902]",
    "[902.5, 508]",
    '"0x0"',
    '"16385x1"',
    '"00902x00508"',
    '"99999x99999"',
    '"Wide"',
    '"wide"',
  ],
  name: [
    '"fast"',
    '"FAST"',
    '" large "',
    '"Large"',
    '"each"',
    '"unheard-of"',
    '" "',
    "5",
    '"included"',
    '"flux-pro"',
    '"Flux-Pro"',
    '"vace"',
    '"i2v"',
  ],
};
const kinds: Record<string, string> = {
  gap_frame_count: "count",
  context_frame_count: "count",
  segment_index: "count",
  segment_frames_expanded: "lengths",
  input_image_paths_resolved: "list",
  clip_list: "list",
  transition_task_ids: "list",
  num_images: "count",
  num_generations: "count",
  num_frames: "count",
  segment_frames_target: "count",
  frame_count: "count",
  video_length: "count",
  seconds: "seconds",
  duration: "seconds",
  scale_factor: "scale",
  upscale_factor: "scale",
  scale: "scale",
  resolution: "size",
  image_size: "size",
  parsed_resolution_wh: "size",
  model_name: "name",
  model: "name",
  model_type: "name",
};

/** Params as clients send them, and as they do not, as JSON. */
function hostileParams(random: Random): string {
  const one = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)] as Item;
  // Most have one or two of the names, so that not nearly all are refused.
  const density = one([0.06, 0.12, 0.3]);
  const oddness = one([0, 0, 0.1, 0.5]);
  const fields = () =>
    Object.entries(kinds)
      .filter(() => random() < density)
      .map(([name, kind]) => `"${name}": ${random() < oddness ? one(oddValues) : one(valuesOf[kind] ?? [])}`);
  const nested = ["orchestrator_details", "individual_segment_params", "full_orchestrator_payload"]
    .filter(() => random() < 0.15)
    .map((name) => `"${name}": ${random() < 0.2 ? one(oddValues) : `{${fields().join(", ")}}`}`);
  return `{${['"prompt": "a fox"', ...fields(), ...nested].join(", ")}}`;
}
