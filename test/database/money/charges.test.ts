/** Checks 12, 15 and 16: every charge is its price, to the last micro-dollar, computed here once more. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, withDatabase } from "../../support/database.ts";
import {
  type Billed,
  exactCost,
  type PricedType,
  type PublishedPrice,
  readBilled,
} from "../../support/exact-prices.ts";
import { createUser, type TestUser } from "../../support/factories.ts";
import { inParallel, randomFrom } from "../../support/orders.ts";

type Random = () => number;
type Params = Record<string, unknown>;

const charges = 1_000_000;
const chargesAtOnce = 50_000;
/** Of these so many are booked, each by a hold of its own. */
const booked = 4_000;
const mostSeconds = 1_200;

test("check 12: of 1,000,000 random charges by the second none differs from whole-number arithmetic, and their sum neither", (context) =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(12);
    const below = (limit: number) => Math.floor(random() * limit);
    // Most prices have no factors, as in the price list; computing one that has takes twenty times as long.
    const prices = Array.from({ length: 60 }, (_, index): PublishedPrice => ({
      billing_type: "per_second",
      price_microusd: [1 + below(1_000), 278, below(1_000_000)][index % 3] ?? 0,
      cost_factors: index < 54 ? {} : factors(random, "any"),
    }));
    const variants = Array.from({ length: 400 }, () => billed(random));
    await sql`create table asked_prices (place integer primary key, price task_type_prices)`;
    await sql`create table asked_params (place integer primary key, params jsonb)`;
    await sql`
      insert into asked_prices
      select position - 1, jsonb_populate_record(null::task_type_prices, value)
        from jsonb_array_elements(${sql.json(prices as never)}) with ordinality as given (value, position)`;
    await sql`
      insert into asked_params
      select position - 1, value
        from jsonb_array_elements(${sql.json(variants as never)}) with ordinality as given (value, position)`;

    const parts = Array.from({ length: charges / chargesAtOnce }, () =>
      Array.from({ length: chargesAtOnce }, () => ({
        price: below(prices.length),
        params: below(variants.length),
        // One in eight at a whole second, or a microsecond beside it; some beyond the longest run.
        microseconds: below(8) === 0 ? below(1_500) * 1_000_000 + below(3) - 1 : below(1_500_000_000),
      })),
    );
    let sum = 0n;
    let sumOfSql = 0n;
    let differing = 0;
    await inParallel(parts, 2, async (part) => {
      const [row] = await sql<{ costs: string[]; sum: string }[]>`
        select array_agg(cost order by position) as costs, sum(cost) as sum
          from (select position, price_of_work(price, params, microseconds / 1000000.0, ${mostSeconds}) as cost
                  from unnest(${part.map(({ price }) => price)}::int[], ${part.map((one) => one.params)}::int[],
                              ${part.map(({ microseconds }) => microseconds)}::bigint[])
                         with ordinality as given (price_place, params_place, microseconds, position)
                  join asked_prices on asked_prices.place = price_place
                  join asked_params on asked_params.place = params_place) as computed`;
      for (const [at, one] of part.entries()) {
        const cost = exactCost(
          prices[one.price] as PublishedPrice,
          variants[one.params] as Billed,
          BigInt(one.microseconds),
          BigInt(mostSeconds),
        );
        sum += cost;
        if (String(cost) !== row?.costs[at]) differing++;
      }
      sumOfSql += BigInt(row?.sum ?? 0);
    });
    assert.equal(differing, 0);
    assert.equal(sumOfSql - sum, 0n);

    const { userId } = await createUser(sql, 9_000_000_000_000_000);
    const costs = parts
      .flatMap((part) => part.slice(0, booked / parts.length))
      .map((one) =>
        exactCost(
          prices[one.price] as PublishedPrice,
          variants[one.params] as Billed,
          BigInt(one.microseconds),
          BigInt(mostSeconds),
        ),
      );
    await bookEach(sql, userId, costs);
    const [books] = await sql<{ entries: number; microusd: string; cents: string }[]>`
      select count(*)::int as entries, -sum(amount_microusd) as microusd, -sum(amount) * 10000 as cents
        from credits_ledger where user_id = ${userId} and type = 'spend'`;
    const total = String(costs.reduce((all, cost) => all + cost, 0n));
    assert.equal(books?.entries, costs.filter((cost) => cost > 0n).length);
    assert.deepEqual([books.microusd, Number(books.cents)], [total, Number(total)]);
    context.diagnostic(
      `${charges} charges, ${sum} micro-dollars: drift 0; ${booked} of them booked: drift 0`,
    );
  }));

/** A hold and its settling for each cost. */
async function bookEach(sql: Sql, userId: string, costs: bigint[]): Promise<void> {
  for (let at = 0; at < costs.length; at += 400) {
    await sql`
      select count(close_hold(task_id, cost))
        from (select task_id, cost, open_hold(${userId}, task_id, cost, null)
                from (select gen_random_uuid() as task_id, cost
                        from unnest(${costs.slice(at, at + 400).map(String)}::bigint[]) as cost) as asked
              offset 0) as held`;
  }
}

/** How many tasks are created, run and paid; all 10,000 by DARKROOM_CHECK_RUNS=10000. */
const runs = Number(process.env["DARKROOM_CHECK_RUNS"] ?? 1_500);
const quotes = 10_000;

/** A paid task as the tables have it, and what was promised before. */
interface Paid {
  promised: Quote | null;
  created: { exact: boolean; hold_microusd: number; upper_bound_microusd: number; price_version: number };
  type: PricedType;
  params: Params;
  billed: Billed;
  price: PublishedPrice & { version: number };
  microseconds: string;
  most_seconds: number;
  status: string;
  cost: string;
  charged: string;
  held: string;
  written_off: string;
  /** How many images it made, where it asked for several. */
  images: number | null;
  spent: string | null;
  entries: number;
}

interface Quote {
  task_type: string;
  exact: boolean;
  cost_microusd: number;
  hold_microusd: number;
  upper_bound_microusd: number;
  price_version: number;
  quote_id: string;
  breakdown: { total_microusd: number }[];
}

test("check 16: of 10,000 quotes for random params, an exact one is the price, an estimate is not above its bound", (context) =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(16);
    const types = await taskTypes(sql);
    await expectRuns(sql);
    // Prices with all kinds of factors; those of the first list are read in check 62.
    for (const { name, billing_type } of types) {
      await sql`
        select publish_price(${name}, ${billing_type}::billing_type, 1234, ${sql.json(factors(random, name) as never)}, null, 'ada',
                             'factors', ${randomUUID()})`;
    }
    const orders = Array.from({ length: quotes }, (_, index) => {
      const type = types[index % types.length] as (typeof types)[number];
      return { type, task_type: type.name, params: params(random, type) };
    });
    const counted = { exact: 0, estimated: 0 };
    for (let at = 0; at < quotes; at += 2_500) {
      const asked = await sql<{ exact: boolean; expected: string; bound: string; price: PublishedPrice }[]>`
        select quote.exact, quote.expected_microusd as expected, quote.upper_bound_microusd as bound,
               to_jsonb(quote.price) as price
          from jsonb_array_elements(${sql.json(orders.slice(at, at + 2_500) as never)}) with ordinality as given (request, position),
               quote_task(request ->> 'task_type', request -> 'params') as quote
         order by position`;
      for (const [place, { exact, expected, bound, price }] of asked.entries()) {
        const order = orders[at + place];
        counted[exact ? "exact" : "estimated"]++;
        assert.ok(BigInt(expected) <= BigInt(bound), JSON.stringify(order));
        if (!exact) continue;
        assert.equal(expected, bound);
        assert.equal(
          BigInt(expected),
          exactCost(price, readBilled(order?.type as PricedType, price, order?.params ?? {}), 0n, 1n),
          JSON.stringify([order, price]),
        );
      }
    }
    assert.ok(counted.exact > 4_000 && counted.estimated > 4_000);
    context.diagnostic(
      `${counted.exact} exact quotes are the price, ${counted.estimated} estimates within their bound`,
    );
  }));

test("checks 15 and 16: a task keeps its price whatever is published meanwhile; an exact quote is the charge, an estimate's bound is never passed", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const random = randomFrom(1516);
    const below = (limit: number) => Math.floor(random() * limit);
    const people = await Promise.all(
      Array.from({ length: 40 }, () => createUser(sql, 1_000_000_000_000_000)),
    );
    const types = await taskTypes(sql);
    await expectRuns(sql);
    const single = types.filter(({ category }) => category !== "orchestration");
    let published = 0;
    const publish = async (count: number) => {
      for (let turn = 0; turn < count; turn++) {
        const { name, billing_type } = single[below(single.length)] ?? {
          name: "wgp",
          billing_type: "per_second",
        };
        const price = 1 + below(300_000);
        await sql`
          select publish_price(${name}, ${billing_type}::billing_type, ${price}, ${sql.json(factors(random, name) as never)}, null,
                               'ada', 'another price', ${randomUUID()})`;
        published++;
      }
    };

    // The first prices have values of their own; from here on all have those that the params name.
    for (const { name, billing_type } of single) {
      await sql`
        select publish_price(${name}, ${billing_type}::billing_type, ${1 + below(300_000)}, ${sql.json(factors(random, name) as never)},
                             null, 'ada', 'first', ${randomUUID()})`;
    }

    const paid: Paid[] = [];
    for (let at = 0; at < runs; at += 100) {
      const batch = Array.from({ length: 100 }, (_, index) => ({
        task_id: randomUUID(),
        owner: people[(at + index) % people.length] as TestUser,
        type: single[(at + index) % single.length] as (typeof single)[number],
        task_type: single[(at + index) % single.length]?.name ?? "",
        params: params(random, single[(at + index) % single.length] as (typeof single)[number]),
        isQuoted: below(4) > 0,
        // Mostly what such runs take, at times far more.
        seconds: below(20) === 0 ? below(3_000) : 1 + below(40) + random(),
      }));
      await publish(3);
      const promises = await sql<{ task_id: string; promised: Quote }[]>`
        select given ->> 'task_id' as task_id,
               calculate_task_cost((given -> 'owner' ->> 'userId')::uuid, given ->> 'task_type', given -> 'params') as promised
          from jsonb_array_elements(${sql.json(batch.filter(({ isQuoted }) => isQuoted) as never)}) as given`;
      const promised = new Map(promises.map((row) => [row.task_id, row.promised]));
      await publish(3);
      const requests = batch.map(({ task_id, owner, task_type, params }) => {
        const quote_id = promised.get(task_id)?.quote_id;
        return { task_id, project_id: owner.projectId, task_type, params, ...(quote_id && { quote_id }) };
      });
      const created = await sql<{ task_id: string; created: Paid["created"] }[]>`
        select task ->> 'task_id' as task_id, task as created
          from jsonb_array_elements(create_task(null, ${sql.json(requests as never)}, true) -> 'tasks') as task`;
      assert.equal(created.length, batch.length);
      await publish(3);
      while (
        (await sql`select claim_next_task(for_worker => 'worker', max_tasks => 100) as claimed`)[0]?.[
          "claimed"
        ]
      );
      await sql`
        update tasks set generation_started_at = clock_timestamp() - make_interval(secs => (given ->> 'seconds')::float8)
          from jsonb_array_elements(${sql.json(batch as never)}) as given where id = (given ->> 'task_id')::uuid`;
      await publish(3);
      await sql`
        select count(complete_task(for_user => null, for_task => (given ->> 'task_id')::uuid, skip_generation => true,
                                   output_text => 'https://media.example/made.png'))
          from jsonb_array_elements(${sql.json(batch as never)}) as given`;
      const answers = new Map(created.map((row) => [row.task_id, row.created]));
      const rows = await sql<(Omit<Paid, "promised" | "created"> & { id: string })[]>`
        select task.id, task.status, task.params, task.billed, to_jsonb(kind) as type, to_jsonb(price) as price, kind.max_runtime_seconds as most_seconds,
               (extract(epoch from task.generation_processed_at - task.generation_started_at) * 1000000)::bigint as microseconds,
               task.cost_microusd as cost, hold.charged_microusd as charged, hold.amount_microusd as held,
               hold.written_off_microusd as written_off, (task.result_data -> 'images')::int as images,
               -sum(entry.amount_microusd) as spent, count(entry.id)::int as entries
          from tasks as task
          join task_type_prices as price on price.id = task.price_id
          join task_types as kind on kind.name = task.task_type
          join credit_holds as hold on hold.task_id = task.id
          left join credits_ledger as entry on entry.task_id = task.id
         where task.id = any (${batch.map(({ task_id }) => task_id)}::uuid[])
         group by task.id, price.id, kind.name, hold.task_id`;
      paid.push(
        ...rows.map((row) => ({
          ...row,
          promised: promised.get(row.id) ?? null,
          created: answers.get(row.id) as Paid["created"],
        })),
      );
    }

    let [exact, estimated, grown] = [0, 0, 0];
    for (const task of paid) {
      const told = JSON.stringify(task);
      assert.equal(task.status, "Complete", told);
      // These workers make one image, whatever was asked for: one is what is paid.
      const read = readBilled(task.type, task.price, task.params);
      assert.deepEqual(task.billed, read, told);
      const made = { ...read, ...(task.images !== null && { images: task.images }) };
      const cost = exactCost(task.price, made, BigInt(task.microseconds), BigInt(task.most_seconds));
      // The price is the one that was quoted, or in force when it was created.
      assert.equal(task.price.version, task.promised?.price_version ?? task.created.price_version, told);
      assert.equal(task.created.price_version, task.price.version, told);
      const bound = BigInt(task.promised?.upper_bound_microusd ?? task.created.upper_bound_microusd);
      const firstHold = BigInt(task.promised?.hold_microusd ?? task.created.hold_microusd);
      assert.ok(firstHold <= bound && cost <= bound, told);
      assert.equal(BigInt(task.held), cost > firstHold ? cost : firstHold, told);
      assert.equal(BigInt(task.cost), cost, told);
      assert.equal(BigInt(task.charged), cost, told);
      assert.equal(BigInt(task.spent ?? 0), BigInt(task.charged), told);
      assert.equal(BigInt(task.written_off), 0n, told);
      assert.equal(task.entries, cost > 0n ? 1 : 0, told);
      if (task.promised) {
        const lines = task.promised.breakdown.map(({ total_microusd }) => total_microusd);
        assert.equal(
          lines.reduce((sum, total) => sum + total, 0),
          task.promised.cost_microusd,
          told,
        );
      }
      if (task.created.exact) {
        const asked = exactCost(task.price, read, 0n, 1n);
        assert.equal(BigInt(task.promised?.cost_microusd ?? task.created.upper_bound_microusd), asked, told);
        assert.ok(task.images === null ? cost === asked : task.images === 1 && cost <= asked, told);
        exact++;
      } else {
        estimated++;
        if (cost > firstHold) grown++;
      }
    }
    assert.equal(paid.length, runs);
    assert.ok(exact > 0 && estimated > 0 && grown > 0);
    await assertHealthy(database);
    context.diagnostic(
      `${runs} tasks paid while ${published} prices were published: ${exact} exactly as quoted, ${estimated} within the bound ` +
        `(${grown} beyond their first hold), all recomputed from params and price version`,
    );
  }));

async function taskTypes(sql: Sql) {
  const types = await sql<(PricedType & { billing_type: string })[]>`
    select name, category, content_type, (current_price(name)).billing_type from task_types
     where alias_of is null and category <> 'call' order by name`;
  assert.ok(types.length > 25);
  return types;
}

/** What the operator expects of runs: from a few seconds to more than most of them take. */
async function expectRuns(sql: Sql): Promise<void> {
  await sql`update task_types set expected_seconds = 5 + abs(hashtext(name)) % 120 where alias_of is null`;
}

async function assertHealthy({ sql }: DatabaseUnderTest): Promise<void> {
  const [row] = await sql<{ diagnosis: { faults: unknown[] } }[]>`select doctor() as diagnosis`;
  assert.deepEqual(row?.diagnosis.faults, []);
}

/** Up to all kinds of factors, with up to four decimals; each lists whatever params() names. */
function factors(random: Random, taskType: string): PublishedPrice["cost_factors"] {
  const decimal = (most: number) => Math.round(random() * most * 10_000) / 10_000;
  const one = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)] as Item;
  const all: PublishedPrice["cost_factors"] = {
    resolution: {
      "512x512": 1,
      "902x508": decimal(4),
      "1920x1080": decimal(4),
      "2x": one([0, 0.5, 1, 2]),
      "8x": decimal(8),
      included: decimal(2),
    },
    model: { fast: decimal(2), large: decimal(8), each: decimal(3) },
    model_type: { "flux-pro": 2, "flux-schnell": 0.5, vace: decimal(3), included: 1 },
    frames: { included: one([0, 16, 81, 80.5]), each: decimal(0.1) },
    images: { included: 1, each: one([0, 0.75, 1]) },
    seconds: { included: one([0, 5, 2.5]), each: decimal(0.5) },
    megapixels: { included: one([0.5, 1, 2]), each: decimal(2) },
  };
  // What is paid by the unit always counts its images, so that several may be asked for.
  return Object.fromEntries(
    Object.entries(all).filter(
      ([name]) =>
        // The model type of a single image is another name of its model.
        !(taskType === "single_image" && name === "model_type") &&
        (name === "images" || random() < (name === "megapixels" ? 0.2 : 0.4)),
    ),
  );
}

/** Params as clients send them: whatever the prices have a value for. */
function params(random: Random, type: PricedType): Params {
  const one = (...items: readonly unknown[]) => items[Math.floor(random() * items.length)];
  const all: Params = {
    prompt: "a fox",
    ...(type.category === "upscale"
      ? { scale_factor: one(1, 2, 2.5, "8.0", 7.99, "4x") }
      : {
          resolution: one("902x508", "1920 X 1080", "512*512", "768x768", [902, 508], null, ""),
          ...(random() < 0.2 && {
            resolution: undefined,
            parsed_resolution_wh: "768x768",
            image_size: "768x768",
          }),
        }),
    model_name: one("fast", "large", "each", " Fast ", 5),
    model: one("large", "each"),
    // Another name of the model, where a single image is asked for.
    model_type:
      type.name === "single_image"
        ? one("fast", "LARGE", "each", null)
        : one("flux-pro", "FLUX-SCHNELL", "vace", null),
    num_frames: one(16, 81, 82, 121, "97", 100_000, null),
    seconds: one(1, 5, 5.5, "12.25", 3600),
    num_images: one(1, 2, 4, "3", "4.0", null),
    num_new_segments_to_generate: one(1, 3, 500),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && random() < 0.6));
}

/** What a price may depend on. */
function billed(random: Random): Billed {
  const one = <Item>(...items: readonly Item[]) => items[Math.floor(random() * items.length)] as Item;
  const all: Billed = {
    resolution: one("902x508", "1920x1080", "768x768", "512x512", "included"),
    model: one("fast", "large", "each"),
    model_type: one("flux-pro", "flux-schnell", "vace", "included"),
    frames: one(1, 16, 81, 82, 121, 1_000),
    images: one(1, 2, 4, 16),
    seconds: one(1, 5, 6, 60),
    megapixels: one(1, 2, 4),
  };
  return Object.fromEntries(Object.entries(all).filter(() => random() < 0.6));
}
