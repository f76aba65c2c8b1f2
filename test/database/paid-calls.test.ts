import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import { accountOf, createUser, refusedWith } from "../support/factories.ts";
import { json } from "../../supabase/functions/_shared/database/sql.ts";

const price = 2_500;

test("of two calls on credit for one, the second is refused before its provider is asked", () =>
  withDatabase(async (database) => {
    await publish(database);
    const { userId } = await createUser(database.sql, price);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    const call = await open(first, userId);
    const meanwhile = refusedWith(open(second, userId));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await meanwhile, "insufficient_credits");
    assert.deepEqual(await accountOf(first, userId), { balance: price, held: price });
    assert.equal((await close(first, call, 1))["microusd"], price);
    assert.deepEqual(await accountOf(first, userId), { balance: 0, held: 0 });
    await assertHealthy(database);
  }));

test("of two calls with one key at once, the second learns of the first, whether that is open, answered or failed", () =>
  withDatabase(async (database) => {
    await publish(database);
    const { userId } = await createUser(database.sql, 10 * price);
    const [first, second] = [await database.session(), await database.session()];
    for (const [key, units, expected] of [
      ["open", undefined, "call_in_progress"],
      ["answered", 1, "none"],
      ["failed", 0, "none"],
    ] as const) {
      await first.query("begin");
      const call = await open(first, userId, { key });
      if (units !== undefined) await close(first, call, units, { text: "the first answer" });
      const meanwhile = again(second, userId, key);
      await database.lockIsWaitedFor();
      await first.query("commit");
      assert.equal(await refusedWith(meanwhile), expected, key);
      if (expected !== "none") continue;
      const { call_id, answer } = await meanwhile;
      assert.equal(call_id === call, units === 1, key);
      assert.deepEqual(
        answer && [answer["text"], (answer["charge"] as { microusd: number }).microusd],
        units === 1 ? ["the first answer", price] : null,
        key,
      );
    }
    const [{ spends } = { spends: 0 }] = await database.sql<{ spends: number }[]>`
      select count(*)::int as spends from credits_ledger where type = 'spend'`;
    assert.equal(spends, 1);
    await assertHealthy(database);
  }));

test("a call is closed once when its answer and the end of its time meet, in both orders", () =>
  withDatabase(async (database) => {
    await publish(database);
    const [first, second] = [await database.session(), await database.session()];
    for (const answersFirst of [true, false]) {
      const { userId } = await createUser(database.sql, 10 * price);
      const call = await open(first, userId);
      await expire(database, call);
      await first.query("begin");
      if (answersFirst) await close(first, call, 1);
      else await first.query("select tend_paid_calls()");
      // The upkeep passes by an account that is busy; an answer waits for it.
      const meanwhile: Promise<unknown> = answersFirst
        ? second.query("select tend_paid_calls()")
        : close(second, call, 1);
      if (answersFirst) await meanwhile;
      else await database.lockIsWaitedFor();
      await first.query("commit");
      await meanwhile;
      await second.query("select tend_paid_calls()");
      assert.deepEqual(await accountOf(first, userId), {
        balance: answersFirst ? 9 * price : 10 * price,
        held: 0,
      });
    }
    await assertHealthy(database);
  }));

test("what a dead process held is given back by the upkeep, and by its user's next call", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, price);
    const dead = await open(session, userId, { key: "once" });
    assert.equal(await refusedWith(open(session, userId)), "insufficient_credits");
    const { rows } = await session.query<{ lasts: string }>(
      "select (expires_at - created_at)::text as lasts from paid_calls where id = $1",
      [dead ?? null],
    );
    assert.equal(rows[0]?.lasts, "00:05:00");
    await expire(database, dead);
    // The key of a call that failed is free.
    const next = await open(session, userId, { key: "once" });
    assert.notEqual(next, dead);
    await expire(database, next);
    await session.query("select tend_paid_calls()");
    assert.deepEqual(await accountOf(session, userId), { balance: price, held: 0 });
    // It comes to life again, too late: it costs nothing.
    assert.equal((await close(session, dead, 1))["microusd"], 0);
    assert.deepEqual(await accountOf(session, userId), { balance: price, held: 0 });
    await assertHealthy(database);
  }));

test("what was answered of many is charged, once, and the rest given back; never more than was held", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    for (const [asked, answered, charged] of [
      [5, 5, 5],
      [5, 2, 2],
      [5, 9, 5],
      [5, 0, 0],
    ] as const) {
      const { balance } = await accountOf(session, userId);
      const call = await open(session, userId, { units: asked });
      assert.equal((await accountOf(session, userId)).held, asked * price);
      await close(session, call, answered);
      await close(session, call, asked);
      assert.deepEqual(await accountOf(session, userId), { balance: balance - charged * price, held: 0 });
    }
    await assertHealthy(database);
  }));

test("a call keeps the price it was opened at; free calls leave no trace", () =>
  withDatabase(async (database) => {
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    assert.equal(await open(session, userId), undefined, "without a price");
    await publish(database, 0);
    assert.equal(await open(session, userId), undefined, "with a price of nothing");
    await publish(database);
    assert.equal(await open(session, null), undefined, "on nobody's account");
    assert.equal(await open(session, userId, { units: 0 }), undefined, "with nothing to pay for");
    const call = await open(session, userId);
    await publish(database, 9 * price);
    assert.equal((await close(session, call, 1))["microusd"], price);
    const rows = await database.sql`select id from paid_calls`;
    assert.equal(rows.length, 1);
    await assertHealthy(database);
  }));

test("answers and their keys are kept for seven days", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    const call = await open(session, userId, { key: "mine" });
    await close(session, call, 1, { text: "kept" });
    for (const [days, isKept] of [
      [6, true],
      [8, false],
    ] as const) {
      await database.sql`update paid_calls set closed_at = now() - make_interval(days => ${days}) where id = ${call ?? ""}`;
      await session.query("select tend_paid_calls()");
      const { call_id } = await again(session, userId, "mine");
      assert.equal(call_id === call, isKept, `${days} days`);
    }
    await assertHealthy(database);
  }));

test("a token's calls count for its cap, with what its tasks spend, and count no more where they fail", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    const [{ token } = { token: "" }] = await database.sql<{ token: string }[]>`
      insert into personal_access_tokens (user_id, token_hash, last_four, label, scopes)
      values (${userId}, sha256('a token'), 'oken', 'test', '{tasks:write}') returning id as token`;
    const first = await open(session, userId, { token });
    await close(session, first, 1);
    // The cap comes after the first call, and knows of it.
    await database.sql`select set_spend_cap(${userId}, null, ${token}, ${2 * price})`;
    const second = await open(session, userId, { token });
    assert.equal(await refusedWith(open(session, userId, { token })), "spend_cap_reached");
    assert.ok(await open(session, userId), "the cap is the token's alone");
    await close(session, second, 0);
    const third = await open(session, userId, { token });
    await close(session, third, 1);
    assert.equal(await refusedWith(open(session, userId, { token })), "spend_cap_reached");
    await assertHealthy(database);
  }));

test("a prompt is no task: it cannot be queued or quoted as one", () =>
  withDatabase(async (database) => {
    await publish(database);
    const { userId, projectId } = await createUser(database.sql);
    const request = { task_type: "ai-prompt", params: {}, project_id: projectId };
    for (const asked of [
      () => database.sql`select create_task(${userId}, ${database.sql.json([request])}, false)`,
      () => database.sql`select calculate_task_cost(${userId}, 'ai-prompt', '{}')`,
    ]) {
      assert.equal(await refusedWith(asked()), "unknown_task_type");
    }
  }));

test("constraints refuse what no function does", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    const held = await open(session, userId, { units: 2 });
    for (const wrong of [
      "state = 'settled'",
      "state = 'settled', closed_at = now()",
      "state = 'settled', closed_at = now(), charged_units = 3, charged_microusd = 7500",
      "state = 'settled', closed_at = now(), charged_units = 1, charged_microusd = 1",
      "charged_units = 1, charged_microusd = 2500",
      "amount_microusd = 4999",
      "closed_at = now()",
      "answer = '{}'",
    ]) {
      await assert.rejects(
        session.query(`update paid_calls set ${wrong} where id = $1`, [held ?? null]),
        wrong,
      );
    }
    for (const [task, call] of [
      ["gen_random_uuid()", "gen_random_uuid()"],
      ["null", "null"],
    ]) {
      await assert.rejects(
        session.query(
          `insert into credits_ledger (id, user_id, sequence, task_id, call_id, type, amount_microusd, revenue_microusd,
             balance_after_microusd, created_at, hash)
           values (gen_random_uuid(), $1, 99, ${task}, ${call}, 'spend', -1, 1, 0, now(), '')`,
          [userId],
        ),
        /entry_is_balanced/,
      );
    }
  }));

test("the doctor names a call whose charge is not its price, has no entry, or is held for ever", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 100 * price);
    const [paid, forgotten] = [await open(session, userId), await open(session, userId)];
    await close(session, paid, 1);
    await expire(database, forgotten, "1 hour");
    assert.deepEqual(await faults(database), [["call_not_released", forgotten]]);
    await session.query("select tend_paid_calls()");
    await assertHealthy(database);
    for (const [spoil, ...expected] of [
      [
        `update paid_calls set units = 2, amount_microusd = 10000, charged_microusd = 5000 where id = '${paid}'`,
        "charge_is_not_its_call",
      ],
      [
        `update paid_calls set id = gen_random_uuid() where id = '${paid}'`,
        "charge_is_not_its_call",
        "spend_without_call",
      ],
    ]) {
      await session.query("begin");
      await session.query(spoil ?? "");
      const { rows } = await session.query<{ rule: string }>(
        "select distinct rule from find_ledger_faults() order by rule",
      );
      await session.query("rollback");
      assert.deepEqual(
        rows.map(({ rule }) => rule),
        expected,
      );
    }
  }));

test("any order of opening, answering, failing, dying and coming again adds up", () =>
  withDatabase(async (database) => {
    await publish(database);
    const session = await database.session();
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("open" as const),
        units: fc.integer({ min: 1, max: 4 }),
        key: fc.constantFrom(undefined, "a", "a", "b"),
      }),
      fc.record({ kind: fc.constant("close" as const), which: fc.nat(9), units: fc.nat(4) }),
      fc.record({ kind: fc.constant("die" as const), which: fc.nat(9) }),
      fc.record({ kind: fc.constant("tend" as const) }),
    );
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 14 }),
        fc.integer({ min: 0, max: 12 }),
        async (steps, credit) => {
          const { userId } = await createUser(database.sql, credit * price);
          const books = new Books(credit);
          for (const taken of steps) {
            if (taken.kind === "open") {
              const expected = books.open(taken.units, taken.key);
              const attempt = again(session, userId, taken.key, taken.units);
              const refused = await refusedWith(attempt);
              seen.set(expected, (seen.get(expected) ?? 0) + 1);
              if (expected === "new") books.opened((await attempt).call_id, taken.units, taken.key);
              else if (expected === "again") {
                assert.equal((await attempt).call_id, books.ofKey(taken.key));
              } else assert.equal(refused, expected);
            } else if (taken.kind === "tend") {
              await session.query("select tend_paid_calls()");
              books.release();
            } else {
              const id = books.nth(taken.which);
              if (id === undefined) continue;
              if (taken.kind === "die") {
                await expire(database, id);
                books.dead.add(id);
              } else {
                const charged = books.close(id, taken.units);
                assert.equal((await close(session, id, taken.units))["microusd"], charged * price);
              }
            }
            assert.deepEqual(await accountOf(session, userId), {
              balance: books.balance * price,
              held: books.held * price,
            });
          }
        },
      ),
      { seed: 20_261_129, numRuns: 150 },
    );
    for (const outcome of ["new", "again", "call_in_progress", "insufficient_credits"]) {
      assert.ok((seen.get(outcome) ?? 0) >= 5, `${outcome}: ${seen.get(outcome)}`);
    }
    await session.query("select tend_paid_calls(100000)");
    await assertHealthy(database);
  }));

/** The rules of paid calls for one account, in units. */
class Books {
  balance: number;
  readonly dead = new Set<string>();
  readonly #open = new Map<string, number>();
  readonly #keys = new Map<string, string>();

  constructor(credit: number) {
    this.balance = credit;
  }

  get held(): number {
    return [...this.#open.values()].reduce((sum, units) => sum + units, 0);
  }

  nth(which: number): string | undefined {
    return [...this.#open.keys()][which % Math.max(1, this.#open.size)];
  }

  ofKey(key: string | undefined): string | undefined {
    return key === undefined ? undefined : this.#keys.get(key);
  }

  /** What comes of opening a call. The dead give back first; a refusal takes that back too. */
  open(
    units: number,
    key: string | undefined,
  ): "new" | "again" | "call_in_progress" | "insufficient_credits" {
    const known = this.ofKey(key);
    if (known !== undefined && !this.dead.has(known)) {
      if (this.#open.has(known)) return "call_in_progress";
      this.release();
      return "again";
    }
    const given = [...this.dead].reduce((sum, id) => sum + (this.#open.get(id) ?? 0), 0);
    if (this.balance - this.held + given < units) return "insufficient_credits";
    this.release();
    return "new";
  }

  opened(id: string, units: number, key: string | undefined): void {
    this.#open.set(id, units);
    if (key !== undefined) this.#keys.set(key, id);
  }

  close(id: string, answered: number): number {
    const charged = Math.min(this.#open.get(id) ?? 0, answered);
    this.balance -= charged;
    this.dead.delete(id);
    this.#end(id, charged > 0);
    return charged;
  }

  release(): void {
    for (const id of this.dead) this.#end(id, false);
    this.dead.clear();
  }

  #end(id: string, isCharged: boolean): void {
    this.#open.delete(id);
    if (isCharged) return;
    for (const [key, known] of this.#keys) if (known === id) this.#keys.delete(key);
  }
}

interface Opened {
  call_id: string;
  answer: Record<string, unknown> | null;
}

interface Opening {
  token?: string;
  units?: number;
  key?: string;
}

/** The id of a new call; undefined where it is free. */
async function open(
  session: Session,
  userId: string | null,
  { token, units = 1, key }: Opening = {},
): Promise<string | undefined> {
  const { rows } = await session.query<{ opened: Opened | null }>(
    "select open_paid_call($1, $2, null, 'ai-prompt', $3, $4, $5) as opened",
    [userId, token ?? null, units, key ?? null, key === undefined ? null : contentHash("the same")],
  );
  return rows[0]?.opened?.call_id;
}

/** A call with a key: a new one, or what the earlier one came to. */
async function again(session: Session, userId: string, key: string | undefined, units = 1): Promise<Opened> {
  const { rows } = await session.query<{ opened: Opened }>(
    "select open_paid_call($1, null, null, 'ai-prompt', $2, $3, $4) as opened",
    [userId, units, key ?? null, key === undefined ? null : contentHash("the same")],
  );
  assert.ok(rows[0]);
  return rows[0].opened;
}

async function close(
  session: Session,
  call: string | undefined,
  units: number,
  answer: object = {},
): Promise<Record<string, unknown>> {
  const { rows } = await session.query<{ charge: Record<string, unknown> }>(
    "select close_paid_call($1, $2, $3) as charge",
    [call ?? null, units, json(answer)],
  );
  return rows[0]?.charge ?? {};
}

async function publish({ sql }: DatabaseUnderTest, microusd = price): Promise<void> {
  await sql`select publish_price('ai-prompt', 'per_unit', ${microusd}, '{}', null, 'test', 'prompts cost', ${String(Math.random())})`;
}

async function expire({ sql }: DatabaseUnderTest, call: string | undefined, ago = "1 second"): Promise<void> {
  await sql`update paid_calls set expires_at = now() - ${ago}::interval where id = ${call ?? ""}`;
}

function contentHash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

async function faults({ sql }: DatabaseUnderTest): Promise<[string, string][]> {
  const found = await sql<{ rule: string; row_id: string }[]>`
    select rule, row_id from find_ledger_faults() union all select rule, row_id from find_task_faults()`;
  return found.map(({ rule, row_id }) => [rule, row_id]);
}

async function assertHealthy(database: DatabaseUnderTest): Promise<void> {
  assert.deepEqual(await faults(database), []);
}
