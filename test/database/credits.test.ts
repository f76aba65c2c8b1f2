import assert from "node:assert/strict";
import { identifier } from "../../supabase/functions/_shared/database/sql.ts";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  wrongAccounts,
} from "../support/factories.ts";

test("the welcome bonus is granted once, at sign-up, however many ask for it afterwards", () =>
  withDatabase(async (database) => {
    const userId = randomUUID();
    await database.sql`
      insert into auth.users (id, email, email_confirmed_at) values (${userId}, 'new@example.com', now())`;
    const sessions = await Promise.all(Array.from({ length: 20 }, () => database.session()));
    const answers = await Promise.all(
      sessions.map((session) =>
        session.query("select grant_welcome_bonus($1) -> 'transaction' -> 'id' as id", [userId]),
      ),
    );

    assert.equal(new Set(answers.map(({ rows }) => rows[0]?.["id"])).size, 1);
    assert.deepEqual(await accountOf(database.sql, userId), { balance: 5_000_000, held: 0 });
    const [user] = await database.sql`select credits, given_credits from users where id = ${userId}`;
    assert.deepEqual({ ...user }, { credits: "500.0000", given_credits: true });
  }));

test("of two people who take the last welcome bonus of a day, or of their domain's, at once, one has it", async () => {
  for (const [limit, addresses, reason] of [
    ["welcome_bonuses_per_domain_and_day", ["first@own.example", "second@own.example"], "domain_limit"],
    ["welcome_bonuses_per_day", ["first@gmail.com", "second@outlook.com"], "day_limit"],
  ] as const) {
    await withDatabase(async (database) => {
      await database.sql`update credit_settings set ${identifier(limit)} = 1`;
      const [first, second] = [await database.session(), await database.session()];
      const people = [await createUser(database.sql, 0), await createUser(database.sql, 0)] as const;
      await database.sql.transaction(async (transaction) => {
        // A change of the address alone is no occasion for a welcome.
        await transaction`set local session_replication_role = 'replica'`;
        for (const [index, { userId }] of people.entries()) {
          await transaction`
            update auth.users set email = ${addresses[index] ?? ""}, is_anonymous = false, email_confirmed_at = now()
             where id = ${userId}`;
        }
      });
      const text = "select grant_welcome_bonus($1)";
      await first.query("begin");
      await first.query(text, [people[0].userId]);
      const waiting = refusedWith(second.query(text, [people[1].userId]));
      await database.lockIsWaitedFor();
      await first.query("commit");

      assert.equal(await waiting, "welcome_bonus_refused");
      const [refusal] = await database.sql`select welcome_bonus_refusal(${people[1].userId}) as reason`;
      assert.equal(refusal?.["reason"], reason);
      assert.equal((await database.sql`select from welcome_bonuses`).length, 1);
    });
  }
});

test("one grant key 20 times at once is one entry; with another amount, reason or user it is refused", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql, 0), await createUser(database.sql, 0)];
    const grant = (userId: string, cents: number, reason: string) =>
      database.sql`select grant_credits(${userId}, ${cents}, ${reason}, 'operator', 'key-1') as granted`;

    const answers = await Promise.all(Array.from({ length: 20 }, () => grant(user.userId, 250, "sorry")));
    const granted = answers.map(
      ([row]) => row?.["granted"] as { transaction: { id: string }; deduplicated: boolean },
    );
    assert.equal(new Set(granted.map(({ transaction }) => transaction.id)).size, 1);
    assert.equal(granted.filter(({ deduplicated }) => !deduplicated).length, 1);

    assert.equal(await refusedWith(grant(user.userId, 251, "sorry")), "idempotency_key_reused");
    assert.equal(await refusedWith(grant(user.userId, 250, "thanks")), "idempotency_key_reused");
    assert.equal(await refusedWith(grant(other.userId, 250, "sorry")), "idempotency_key_reused");
    assert.equal(await refusedWith(grant(randomUUID(), 250, "sorry")), "user_not_found");
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 2_500_000, held: 0 });
  }));

test("two users with one grant key at once: one is granted, the other refused", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql, 0), await createUser(database.sql, 0)];
    const [first, second] = [await database.session(), await database.session()];
    const text = "select grant_credits($1, 100, 'gift', 'operator', 'key-1')";

    await first.query("begin");
    await first.query(text, [user.userId]);
    const waiting = refusedWith(second.query(text, [other.userId]));
    await first.query("commit");

    assert.equal(await waiting, "idempotency_key_reused");
    assert.deepEqual(await accountOf(database.sql, other.userId), { balance: 0, held: 0 });
  }));

test("settling and releasing one hold at once ends it once", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await first.query("select close_hold($1, 6500)", [taskId]);
    const waiting = second.query("select close_hold($1, 0) as charged", [taskId]);
    await first.query("commit");
    await waiting;

    const [hold] = await database.sql`select state, charged_microusd::int as charged from credit_holds`;
    assert.deepEqual({ ...hold }, { state: "settled", charged: 6500 });
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 993_500, held: 0 });
  }));

test("a task that is retried counts for the cap of the token that asked for it, and a charge stays counted", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [token] = await sql<{ id: string }[]>`
      select generate_pat(${user.userId}, ${Buffer.alloc(32, 7)}, 'last', 'test', array['tasks:write']) ->> 'id' as id`;
    const tokenId = token?.id ?? "";
    await sql`select set_spend_cap(${user.userId}, null, ${tokenId}, 300000)`;
    const committed = async () => {
      const [cap] = await sql<{ microusd: number }[]>`
        select committed_microusd::int as microusd from spend_caps where token_id = ${tokenId}`;
      return cap?.microusd;
    };
    const order = { task_type: "wan_2_2_t2i", params: { prompt: "a fox" }, project_id: user.projectId };
    const [made] = await sql<{ id: string }[]>`
      select create_task(null, ${sql.json([order])}, false, for_token => ${tokenId}) ->> 'task_id' as id`;
    const taskId = made?.id ?? "";
    const bound = 278 * 60;
    assert.equal(await committed(), bound);
    await setStatus(sql, taskId, "Failed");
    assert.equal(await committed(), 0);
    await setStatus(sql, taskId, "Queued");
    assert.equal(await committed(), bound);
    await claim(sql, "worker");
    const { cost_microusd: cost } = await complete(sql, taskId);
    assert.ok(Number(cost) < bound);
    assert.equal(await committed(), cost);
    const [doctor] = await sql<{ faults: unknown[] }[]>`select doctor() -> 'faults' as faults`;
    assert.deepEqual(doctor?.faults, []);
  }));

test("a hold that grows in a later month counts in the one in which its work was created", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await sql`select set_spend_cap(${user.userId}, ${user.projectId}, null, 100000)`;
    const taskId = await queueTask(sql, user);
    await sql`update credit_holds set created_at = created_at - interval '1 month'`;
    await sql`update spend_caps set month = month - interval '1 month'`;
    await sql`select extend_hold(${taskId}, 20000)`;
    const [cap] = await sql`select committed_microusd::int as committed from spend_caps`;
    assert.deepEqual({ ...cap }, { committed: 20_000 });
    const [verified] = await sql<{ faults: unknown[] }[]>`select verify_ledger() -> 'faults' as faults`;
    assert.deepEqual(verified?.faults, []);
  }));

test("a task has one spend: the second is refused by the table itself", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    await complete(database.sql, taskId);

    const again = database.sql`
      select record_entry(jsonb_populate_record(null::credits_ledger, ${database.sql.json({
        user_id: user.userId,
        task_id: taskId,
        type: "spend",
        amount_microusd: -1,
        revenue_microusd: 1,
      })}))`;
    await assert.rejects(again, { code: "23505" });
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("after 400 concurrent writes on 10 accounts, every balance is the sum of its ledger and its holds", () =>
  withDatabase(async (database) => {
    const users = await Promise.all(Array.from({ length: 10 }, () => createUser(database.sql, 60_000)));
    const sessions = await Promise.all(Array.from({ length: 20 }, () => database.session()));
    await Promise.all(
      sessions.map(async (session, index) => {
        for (let step = 0; step < 20; step++) {
          const user = users[(index * 7 + step) % users.length];
          if (!user) continue;
          if (step % 4 === 3) {
            const claimed = await session.query<{ task: { task_id: string } | null }>(
              "select claim_next_task(for_worker => $1) as task",
              [`worker-${index}`],
            );
            const taskId = claimed.rows[0]?.task?.task_id;
            if (taskId) await complete(session, taskId);
          } else {
            await refusedWith(queueTask(session, user));
          }
        }
      }),
    );

    assert.deepEqual(await wrongAccounts(database.sql), []);
    const [spends] = await database.sql`
      select (select count(*)::int from credits_ledger where type = 'spend') as spends,
             (select count(*)::int from tasks where status = 'Complete') as complete`;
    assert.ok((spends?.["complete"] as number) > 0);
    assert.equal(spends?.["spends"], spends?.["complete"]);
  }));

test("every seeded type has a price, and the prices of the product's list in micro-dollars", () =>
  withDatabase(async (database) => {
    const unpriced = await database.sql`
      select name from task_types where alias_of is null and (current_price(name)).id is null order by name`;
    // Prompts are free until somebody publishes a price.
    assert.deepEqual(
      unpriced.map(({ name }) => name as string),
      ["ai-prompt", "ai-voice-prompt"],
    );
    const rows = await database.sql`
      select name, (current_price(name)).price_microusd::int as price from task_types where alias_of is null`;
    const price = new Map(rows.map((row) => [row["name"] as string, row["price"] as number]));
    const dollars: Record<string, number> = {
      qwen_image: 0.039,
      qwen_image_2512: 0.026,
      qwen_image_style: 0.03,
      z_image_turbo: 0.0065,
      z_image_turbo_i2i: 0.0065,
      image_inpaint: 0.002,
      wan_2_2_i2v: 0.25,
      animate_character: 0.2,
      lora_training: 2.5,
    };
    for (const [name, amount] of Object.entries(dollars))
      assert.equal(price.get(name), Math.round(amount * 1e6), name);
    assert.equal(price.get("travel_segment"), 278);
  }));

test("an exact quote is what is charged; an estimate is never exceeded", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000_000);
    const cases: [string, Record<string, unknown>][] = [
      ["qwen_image", { prompt: "a" }],
      ["single_image", { prompt: "a", resolution: "1024x1024", model_type: "flux-pro" }],
      ["image_upscale", { image: "x", resolution: "4x" }],
      ["wan_2_2_t2i", { prompt: "a" }],
    ];
    for (const [taskType, params] of cases) {
      const [row] =
        await database.sql`select calculate_task_cost(null, ${taskType}, ${database.sql.json(params as never)}) as quote`;
      const quote = row?.["quote"] as { exact: boolean; cost_microusd: number; upper_bound_microusd: number };
      const taskId = await queueTask(database.sql, user, { taskType, params });
      await claim(database.sql, "worker");
      const { cost_microusd: cost } = (await complete(database.sql, taskId)) as { cost_microusd: number };
      if (quote.exact) assert.equal(cost, quote.cost_microusd, taskType);
      else assert.ok(cost <= quote.upper_bound_microusd, taskType);
    }
  }));

/** Passes the time of every grant that expires. */
async function letGrantsExpire(sql: Pool): Promise<void> {
  await sql`update credit_grants set expires_at = expires_at - interval '2 hours' where expires_at is not null`;
  await sql`update credit_accounts set next_expiry_at = next_expiry_at - interval '2 hours'`;
}

test("what is held is of the credit that expires first: that does not expire, and what was paid for is left alone", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql, 0);
    await sql`select add_credit(${userId}, 'stripe', 50000, null, '{}', ${randomUUID()})`;
    await sql`select add_credit(${userId}, 'manual', 10000, expires_at => now() + interval '1 hour')`;
    const taskId = await queueTask(sql, { userId, projectId });
    await letGrantsExpire(sql);
    await sql`select expire_due_grants()`;
    assert.deepEqual(await accountOf(sql, userId), { balance: 56_500, held: 6_500 });
    const [shown] = await sql`select credit_balance(${userId}) -> 'available_microusd' as available`;
    assert.equal(shown?.["available"], 50_000);
    // Once is enough: what is kept for the hold is not looked at again before that ends.
    assert.equal((await sql`select from credit_accounts where next_expiry_at is not null`).length, 0);

    await claim(sql, "worker");
    await complete(sql, taskId);
    assert.deepEqual(await accountOf(sql, userId), { balance: 50_000, held: 0 });
    const lots =
      await sql`select category, remaining_microusd::int as remaining from credit_grants order by id`;
    assert.deepEqual(
      lots.map((lot) => [lot["category"], lot["remaining"]]),
      [
        ["paid", 50_000],
        ["promotional", 0],
      ],
    );
  }));

test("what a hold kept beyond its time expires when the hold gives it back", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql, 0);
    await sql`select add_credit(${userId}, 'manual', 10000, expires_at => now() + interval '1 hour')`;
    const taskId = await queueTask(sql, { userId, projectId });
    await letGrantsExpire(sql);
    await sql`select expire_due_grants()`;
    assert.deepEqual(await accountOf(sql, userId), { balance: 6_500, held: 6_500 });
    await sql`select end_task(${taskId}, 'Cancelled', 'enough')`;
    assert.deepEqual(await accountOf(sql, userId), { balance: 0, held: 0 });
  }));

test("a refund does not take what has expired and only was not looked at yet: it is owed", () =>
  withDatabase(async ({ sql }) => {
    const { userId } = await createUser(sql, 0);
    const payment = randomUUID();
    const taskId = randomUUID();
    await sql`select add_credit(${userId}, 'stripe', 50000, null, '{}', ${payment})`;
    await sql`select open_hold(${userId}, ${taskId}, 50000, null)`;
    await sql`select close_hold(${taskId}, 50000)`;
    await sql`select add_credit(${userId}, 'manual', 30000, expires_at => now() + interval '1 hour')`;
    await letGrantsExpire(sql);
    await sql`select take_back_credit(${userId}, 'refund', 50000, null, '{}', ${payment})`;
    const [account] = await sql`
      select balance_microusd::int as balance, debt_microusd::int as debt from credit_accounts where user_id = ${userId}`;
    assert.deepEqual({ ...account }, { balance: 0, debt: 50_000 });
  }));
