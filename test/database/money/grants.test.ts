/** Checks 10, 11, 18 and 19: in which order credit is spent, that what is spent does not expire, and what is given once. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { Pool } from "../../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../../support/database.ts";
import { accountOf, createUser, refusedWith } from "../../support/factories.ts";
import { inParallel, randomFrom } from "../../support/orders.ts";

/**
 * Grants in the order in which they were made: `p` paid for, `g` given away for ever, `g3` given away for three days;
 * `:40` of forty, else of a hundred. What is spent, and of which grant (counted from 0) how much.
 */
const burnDowns: [grants: string, spent: number, draws: string][] = [
  // One has enough.
  ["p", 40, "0=40"],
  ["p", 100, "0=100"],
  ["g", 1, "0=1"],
  ["g3", 100, "0=100"],
  // Given away before paid for, whichever is older.
  ["p g", 40, "1=40"],
  ["g p", 40, "0=40"],
  ["p g", 140, "0=40 1=100"],
  ["p g3", 140, "0=40 1=100"],
  ["g3 p", 100, "0=100"],
  ["p p g", 100, "2=100"],
  ["p p g", 101, "0=1 2=100"],
  // What expires soonest before what expires later, and that before what never does.
  ["g9 g3", 40, "1=40"],
  ["g3 g9", 40, "0=40"],
  ["g9 g3", 140, "0=40 1=100"],
  ["g g3", 40, "1=40"],
  ["g g9 g3", 250, "0=50 1=100 2=100"],
  ["g9 g g3", 201, "0=100 1=1 2=100"],
  ["g5 g4 g3 g2 g1", 450, "0=50 1=100 2=100 3=100 4=100"],
  ["g1:1 g2:1 g3:1", 3, "0=1 1=1 2=1"],
  // The oldest of those that expire at one time, or never.
  ["g3 g3", 40, "0=40"],
  ["g3 g3", 140, "0=100 1=40"],
  ["p p", 140, "0=100 1=40"],
  ["g g g", 250, "0=100 1=100 2=50"],
  ["p:10 p:20 p:30", 31, "0=10 1=20 2=1"],
  // Over three and more, of all kinds.
  ["p g g3", 250, "0=50 1=100 2=100"],
  ["p g3 g", 250, "0=50 1=100 2=100"],
  ["p:7 g9:11 g3:13 g:17 p:19", 48, "0=7 1=11 2=13 3=17"],
  ["p:7 g9:11 g3:13 g:17 p:19", 67, "0=7 1=11 2=13 3=17 4=19"],
  ["g9 p g9 p g3 g", 333, "0=100 2=100 4=100 5=33"],
  ["p g2:1 p g1:1 p", 203, "0=100 1=1 2=100 3=1 4=1"],
];

test("check 10: burn-down by 30 cases; a spend has a row for each grant that it takes from, of exactly its sum", (context) =>
  withDatabase(async ({ sql }) => {
    assert.equal(burnDowns.length, 30);
    let rows = 0;
    await inParallel(burnDowns, 4, async ([grants, spent, draws]) => {
      const { userId } = await createUser(sql, 0);
      for (const grant of grants.split(" ")) await add(sql, userId, grant);
      const taskId = randomUUID();
      await sql`select open_hold(${userId}, ${taskId}, ${spent}, null)`;
      await sql`select close_hold(${taskId}, ${spent})`;
      const taken = await sql<{ place: number; taken: number; spent: number }[]>`
        select lot.place, draw.amount_microusd::int as taken, -entry.amount_microusd::int as spent
          from (select *, row_number() over (order by id)::int - 1 as place from credit_grants
                 where user_id = ${userId}) as lot
          join credit_grant_draws as draw on draw.grant_id = lot.id
          join credits_ledger as entry on entry.id = draw.entry_id
         where entry.task_id = ${taskId} order by lot.place`;
      assert.equal(taken.map((row) => `${row.place}=${row.taken}`).join(" "), draws, `${grants} | ${spent}`);
      assert.equal(
        taken.reduce((sum, row) => sum + row.taken, 0),
        spent,
      );
      assert.ok(taken.every((row) => row.spent === spent));
      rows += taken.length;
    });
    await assertRight(sql);
    context.diagnostic(`${burnDowns.length} cases, ${rows} draws: each of the right grant and sum`);
  }));

test("check 11: of a hold and an expiry that meet, the first decides, in both orders", () =>
  withDatabase(async (database) => {
    const [spender, expirer] = [await database.session(), await database.session()];
    const { sql } = database;
    const task = randomUUID();
    for (const first of ["spender", "expirer"]) {
      const { userId } = await createUser(sql, 0);
      await add(sql, userId, "g1");
      const spend = (session: Session) =>
        session.query("select open_hold($1, $2, 60, null)", [
          userId,
          first === "spender" ? task : randomUUID(),
        ]);
      if (first === "spender") {
        await spender.query("begin");
        await spend(spender);
        const meanwhile = expire(expirer, userId);
        await database.lockIsWaitedFor();
        await spender.query("commit");
        await meanwhile;
        // Forty expired; sixty were held, and are spent or expire with what the hold gives back.
        assert.deepEqual(await accountOf(sql, userId), { balance: 60, held: 60 });
        await sql`select close_hold(${task}, 50)`;
        await expire(sql, userId);
        assert.deepEqual(await movements(sql, userId), [
          "manual 100",
          "expiry -40",
          "spend -50",
          "expiry -10",
        ]);
      } else {
        await expirer.query("begin");
        await expire(expirer, userId);
        const meanwhile = refusedWith(spend(spender));
        await database.lockIsWaitedFor();
        await expirer.query("commit");
        assert.equal(await meanwhile, "insufficient_credits");
        assert.deepEqual(await movements(sql, userId), ["manual 100", "expiry -100"]);
      }
    }
    await assertRight(sql);
  }));

test("check 11: a hold counts on no credit whose time is over, though nobody has expired it yet", () =>
  withDatabase(async ({ sql }) => {
    const { userId } = await createUser(sql, 0);
    await add(sql, userId, "g1");
    await add(sql, userId, "p:30");
    await passTime(sql, userId, "2 days");
    const hold = (amount: number) =>
      refusedWith(sql`select open_hold(${userId}, ${randomUUID()}, ${amount}, null)`);
    assert.equal(await hold(31), "insufficient_credits");
    // A refusal undoes the expiry that it found; a hold keeps it.
    assert.equal(await hold(30), "none");
    assert.deepEqual(await movements(sql, userId), ["manual 100", "stripe 30", "expiry -100"]);
  }));

const races = 1_000;

test("check 11: in 1,000 races of a task against the expiry of its credit all of it is spent or expired, and none both", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const random = randomFrom(11);
    const people = await sql<{ id: string; place: number }[]>`
      insert into auth.users (id, email, is_anonymous)
      select gen_random_uuid(), gen_random_uuid() || '@example.com', true from generate_series(1, ${races})
      returning id`;
    await sql`
      select count(add_credit(id, 'manual', 1000, expires_at => now() + interval '1 hour'))
        from unnest(${people.map(({ id }) => id)}::uuid[]) as id`;
    const outcomes = { spent: 0, refused: 0 };
    const pairs = await Promise.all(
      Array.from({ length: 6 }, async () => [await database.session(), await database.session()] as const),
    );
    await inParallel(people, pairs.length, async ({ id }, at) => {
      const pair = pairs.pop();
      assert.ok(pair);
      const [first, second] = pair;
      const held = 1 + Math.floor(random() * 1_000);
      const cost = Math.floor(random() * (held + 1));
      const [task, isExpiryFirst] = [randomUUID(), at % 2 === 0];
      const run = async () => {
        const answer = await refusedWith(first.query("select open_hold($1, $2, $3, null)", [id, task, held]));
        if (answer === "none") await first.query("select close_hold($1, $2)", [task, cost]);
        else assert.equal(answer, "insufficient_credits");
        return answer;
      };
      const early = isExpiryFirst ? expire(second, id) : undefined;
      const answer = run();
      await Promise.all([early ?? expire(second, id), answer]);
      await expire(second, id);
      const isSpent = (await answer) === "none";
      outcomes[isSpent ? "spent" : "refused"]++;
      const [books] = await sql<{ spent: number; expired: number; balance: number }[]>`
        select coalesce(-sum(amount_microusd) filter (where type = 'spend'), 0)::int as spent,
               coalesce(-sum(amount_microusd) filter (where type = 'expiry'), 0)::int as expired,
               sum(amount_microusd)::int as balance
          from credits_ledger where user_id = ${id}`;
      const spent = isSpent ? cost : 0;
      assert.deepEqual({ ...books }, { spent, expired: 1_000 - spent, balance: 0 });
      pairs.push(pair);
    });
    await assertRight(sql);
    assert.equal(outcomes.spent + outcomes.refused, races);
    context.diagnostic(
      `${races} races: ${outcomes.spent} tasks had it first, ${outcomes.refused} the expiry; 0 of both, 0 lost`,
    );
  }));

const connections = 25;

test("check 18: a grant whose key another connection is using waits for that one, and is its repeat if it commits", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    const give = async (session: Session, userId: string, key: string) => {
      const { rows } = await session.query<{ given: { deduplicated: boolean; transaction: { id: string } } }>(
        "select grant_credits($1, 250, 'sorry', 'ada', $2) as given",
        [userId, key],
      );
      const [row] = rows;
      assert.ok(row);
      return row.given;
    };
    for (const end of ["commit", "rollback"]) {
      const { userId } = await createUser(database.sql, 0);
      await first.query("begin");
      const before = await give(first, userId, end);
      const meanwhile = give(second, userId, end);
      await database.lockIsWaitedFor();
      await first.query(end);
      const after = await meanwhile;
      assert.deepEqual(
        [after.deduplicated, after.transaction.id === before.transaction.id],
        end === "commit" ? [true, true] : [false, false],
      );
      assert.deepEqual(await accountOf(database.sql, userId), { balance: 2_500_000, held: 0 });
      assert.deepEqual(await movements(database.sql, userId), ["manual 2500000"]);
    }
    await assertRight(database.sql);
  }));

test("check 19: 500 people on 25 connections redeem a code with 10 uses, the first 25 of them at one moment: 10 have it", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    await sql`update credit_settings set welcome_bonus_microusd = 0`;
    await sql`select create_promo_code('TENUSES', 250, 10, null, null, null, 'spring', 'ada')`;
    const people = await sql<{ id: string }[]>`
      insert into auth.users (id, email, email_confirmed_at)
      select gen_random_uuid(), 'p' || number || '@gmail.com', now() from generate_series(1, 500) as number
      returning id`;
    const answers = await atOneMoment(database, {
      gate: "select from promo_codes for update",
      asks: people.map(
        ({ id }) =>
          (session: Session) =>
            refusedWith(session.query("select redeem_promo_code($1, 'TENUSES')", [id])),
      ),
    });
    assert.equal(answers.filter((answer) => answer === "none").length, 10);
    assert.equal(answers.filter((answer) => answer === "promo_code_ended").length, 490);
    const [books] = await sql<{ uses: number; redeemed: number; credited: number }[]>`
      select (select uses from promo_codes) as uses, (select count(*)::int from promo_redemptions) as redeemed,
             sum(amount_microusd)::int as credited from credits_ledger`;
    assert.deepEqual({ ...books }, { uses: 10, redeemed: 10, credited: 25_000_000 });
    await assertRight(sql);
    context.diagnostic("500 racers: 10 redeemed, 490 refused");
  }));

test("check 19: one person's welcome bonus, asked for 100 times on 25 connections, is one grant, and nobody is turned away", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const { userId } = await createUser(sql, 0);
    await sql.transaction(async (transaction) => {
      // A change of the address alone is no occasion for a welcome.
      await transaction`set local session_replication_role = 'replica'`;
      await transaction`update auth.users set is_anonymous = false, email_confirmed_at = now() where id = ${userId}`;
    });
    const answers = await atOneMoment(database, {
      gate: `select from credit_accounts where user_id = '${userId}' for update`,
      asks: Array.from({ length: 100 }, () => async (session: Session) => {
        const { rows } = await session.query<{ repeated: boolean }>(
          "select (grant_welcome_bonus($1) -> 'deduplicated')::boolean as repeated",
          [userId],
        );
        return rows[0]?.repeated;
      }),
    });
    assert.equal(answers.filter((repeated) => repeated === false).length, 1);
    assert.equal(answers.filter((repeated) => repeated === true).length, 99);
    assert.deepEqual(await movements(sql, userId), ["manual 5000000"]);
    context.diagnostic("100 racers: 1 grant, 99 told of it");
  }));

/** Asks on 25 connections; the first of each wait at a lock until all of them do. */
async function atOneMoment<Answer>(
  { sql, session, lockIsWaitedFor }: DatabaseUnderTest,
  { gate, asks }: { gate: string; asks: ((session: Session) => Promise<Answer>)[] },
): Promise<Answer[]> {
  const sessions = await Promise.all(Array.from({ length: connections }, () => session()));
  const answers: Answer[] = [];
  let racing: Promise<void> | undefined;
  await sql.transaction(async (transaction) => {
    await transaction.query(gate);
    racing = inParallel(asks, connections, async (ask) => {
      const own = sessions.pop();
      assert.ok(own);
      answers.push(await ask(own));
      sessions.push(own);
    });
    await lockIsWaitedFor(connections);
  });
  await racing;
  return answers;
}

/** A grant as the table above writes it. */
async function add(sql: Pool, userId: string, grant: string): Promise<void> {
  const [, kind, days, amount = "100"] = /^([pg])(\d*)(?::(\d+))?$/.exec(grant) ?? [];
  if (kind === "p") {
    await sql`select add_credit(${userId}, 'stripe', ${amount}, for_payment => ${randomUUID()})`;
  } else {
    // One moment for all of a case: what expires in as many days expires at one time.
    const expiresAt = days ? new Date(Date.UTC(2100, 0, Number(days))) : null;
    await sql`select add_credit(${userId}, 'manual', ${amount}, expires_at => ${expiresAt})`;
  }
}

/** What the sweep does to an account, by a clock that is far ahead. */
async function expire(connection: Sql | Session, userId: string): Promise<void> {
  const text = "select expire_grants($1, now() + interval '200 years')";
  if (typeof connection === "function") await connection.query(text, [userId]);
  else await connection.query(text, [userId]);
}

/** As if so much time had gone by for an account's grants. */
async function passTime(sql: Pool, userId: string, time: string): Promise<void> {
  await sql`
    update credit_grants set expires_at = now() + interval '1 day' - ${time}::interval
     where user_id = ${userId} and expires_at is not null`;
  await sql`
    update credit_accounts set next_expiry_at = (select min(expires_at) from credit_grants where user_id = ${userId})
     where user_id = ${userId}`;
}

async function movements(sql: Pool, userId: string): Promise<string[]> {
  const rows = await sql<{ moved: string }[]>`
    select type || ' ' || amount_microusd as moved from credits_ledger where user_id = ${userId} order by sequence`;
  return rows.map(({ moved }) => moved);
}

async function assertRight(sql: DatabaseUnderTest["sql"]): Promise<void> {
  const [row] = await sql<{ verified: { faults: unknown[] } }[]>`select verify_ledger() as verified`;
  assert.deepEqual(row?.verified.faults, []);
}
