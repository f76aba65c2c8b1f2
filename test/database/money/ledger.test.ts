/** Checks 13 and 14: nobody changes the ledger, and who did it all the same is found out, with the row. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { Pool } from "../../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, withDatabase } from "../../support/database.ts";
import { claim, complete, createUser, queueTask } from "../../support/factories.ts";
import { inParallel, randomFrom, shuffled } from "../../support/orders.ts";

test("check 13: no role changes, removes or empties entries or draws, by any statement; a user who goes leaves them", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000);
    await queueTask(sql, user);
    await complete(sql, (await claim(sql, "worker"))?.task_id ?? "");
    const written = await entriesAndDraws(sql);
    const owner = `keeper_${randomUUID().replaceAll("-", "")}`;
    await sql.query(`create role ${owner} nologin`);
    try {
      await sql.query(`
        grant ${owner} to current_user;
        grant usage, create on schema public to ${owner};
        grant execute on all functions in schema public to ${owner};
        alter table credits_ledger owner to ${owner};
        alter table credit_grants owner to ${owner};
        alter table credit_grant_draws owner to ${owner};
        alter table promo_redemptions owner to ${owner};
        alter table welcome_bonuses owner to ${owner}`);
      let refused = 0;
      for (const role of ["anon", "authenticated", "service_role", owner, "superuser"]) {
        for (const statement of [...changes, ...detours]) {
          const code = await codeOf(sql, role, user.userId, statement);
          // By the trigger; who has no right does not get there.
          const hasRight = role === "superuser" || (role === owner && !statement.includes("credit_accounts"));
          assert.equal(code, hasRight ? "23001" : "42501", `${role}: ${statement}`);
          refused++;
        }
      }
      // A right that somebody was given by mistake changes nothing.
      await sql`
        grant all on credits_ledger, credit_grants, credit_grant_draws, promo_redemptions, welcome_bonuses to service_role`;
      for (const statement of changes) {
        assert.equal(await codeOf(sql, "service_role", user.userId, statement), "23001", statement);
        refused++;
      }
      await sql`delete from auth.users where id = ${user.userId}`;
      await assert.rejects(sql`delete from credit_accounts`, { code: "23503" });
      assert.deepEqual(await entriesAndDraws(sql), written);
      assert.equal(written.length, 3);
      context.diagnostic(`${refused} statements of 5 roles refused; 3 rows outlive their user`);
    } finally {
      await sql.query(
        `reassign owned by ${owner} to current_user; drop owned by ${owner}; drop role ${owner}`,
      );
    }
  }));

const columnList = [
  "id, user_id, sequence, task_id, payment_id, type, amount_microusd, revenue_microusd, purchases_microusd",
  "grants_microusd, write_off_microusd, debt_microusd, balance_after_microusd, idempotency_key, metadata, created_at, hash",
].join(", ");

/** Whoever has every right on the tables is still refused. */
const changes = [
  "update credits_ledger set metadata = '{}'",
  "update credits_ledger set amount_microusd = amount_microusd",
  "delete from credits_ledger",
  "delete from only credits_ledger where sequence = 1",
  "merge into credits_ledger as entry using (select 1) as one on true when matched then delete",
  `insert into credits_ledger (${columnList}) select ${columnList} from credits_ledger
     on conflict (id) do update set metadata = '{}'`,
  "truncate credits_ledger, credit_grants, credit_grant_draws, promo_redemptions, welcome_bonuses",
  "update credit_grant_draws set amount_microusd = 1",
  "delete from credit_grant_draws",
  "truncate credit_grant_draws",
];
/** The same by way of tables that these hang on. */
const detours = [
  "truncate credits_ledger cascade",
  "truncate credit_accounts cascade",
  "truncate credit_grants cascade",
];

/** The SQLSTATE with which a statement of a role was refused, or that nothing stopped it; undone in any case. */
async function codeOf(sql: Pool, role: string, userId: string, statement: string): Promise<string> {
  const undone = new Error("undone");
  try {
    await sql.transaction(async (transaction) => {
      await transaction`select set_config('request.jwt.claims', ${JSON.stringify({ role, sub: userId })}, true)`;
      if (role !== "superuser") await transaction.query(`set local role ${role}`);
      await transaction.query(statement);
      throw undone;
    });
  } catch (error) {
    if (error === undone) return "not refused";
    return (error as { code?: string }).code ?? String(error);
  }
  return "not refused";
}

async function entriesAndDraws(sql: Pool) {
  const rows = await sql`
    select to_jsonb(entry) as row from credits_ledger as entry
    union all select to_jsonb(draw) from credit_grant_draws as draw order by 1`;
  return [...rows];
}

const accounts = 40;
const entriesEach = 250;
const rounds = 12;
const flipsEach = 20;

/** Every column that an entry has, and how a byte of it is flipped. */
const columns = {
  id: "uuid",
  user_id: "uuid",
  sequence: "bigint",
  task_id: "uuid",
  call_id: "uuid",
  payment_id: "uuid",
  type: "entry type",
  amount_microusd: "bigint",
  revenue_microusd: "bigint",
  purchases_microusd: "bigint",
  grants_microusd: "bigint",
  write_off_microusd: "bigint",
  debt_microusd: "bigint",
  amount: "cents",
  balance_after_microusd: "bigint",
  idempotency_key: "text",
  metadata: "json",
  created_at: "time",
  hash: "bytes",
} as const;
type Column = keyof typeof columns;

interface EntryText {
  id: string;
  user_id: string;
  sequence: number;
  value: string | null;
}

/** What was done behind the ledger's back, and what the verifier must call it. */
interface Tampering {
  rule: "entry_changed" | "entry_missing" | "entry_inserted";
  row: string;
}

test("check 14: of 10,000 entries, exactly those are named of which one byte was flipped, that were removed, or slipped in", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const people = await writeLedger(database);
    assert.deepEqual(await verdict(sql), []);
    const [known] = await sql<{ columns: string[] }[]>`
      select array_agg(attname::text order by attnum) as columns from pg_attribute
       where attrelid = 'credits_ledger'::regclass and attnum > 0 and not attisdropped`;
    assert.deepEqual(known?.columns.toSorted(), Object.keys(columns).toSorted(), "each column has its flips");
    // What a superuser can take away too.
    await sql.query(`
      alter table credits_ledger alter column amount drop expression;
      alter table credits_ledger drop constraint entry_is_balanced, drop constraint credits_ledger_sequence_check,
        drop constraint credits_ledger_user_id_sequence_key`);

    const random = randomFrom(14);
    const below = (limit: number) => Math.floor(random() * limit);
    const flips = new Map<string, number>();
    let turn = 0;
    let found = 0;
    for (let round = 0; round < rounds; round++) {
      const order = shuffled(people, random);
      const undone = new Error("undone");
      const tampered = sql.transaction(async (transaction) => {
        await transaction`set local session_replication_role = 'replica'`;
        const expected: Tampering[] = [];
        for (const [place, userId] of order.entries()) {
          if (place < flipsEach) {
            const column = Object.keys(columns)[turn++ % Object.keys(columns).length] as Column;
            flips.set(column, (flips.get(column) ?? 0) + 1);
            const sequence = 1 + below(entriesEach);
            const row = await flip(transaction, { userId, sequence, column }, below);
            expected.push({ rule: "entry_changed", row });
          } else if (place < flipsEach + 3) {
            // The first, the last, and one between.
            const sequence = [1, entriesEach, 2 + below(entriesEach - 2)][place - flipsEach] ?? 1;
            await transaction`delete from credits_ledger where user_id = ${userId} and sequence = ${sequence}`;
            expected.push({ rule: "entry_missing", row: `${userId}#${sequence}` });
          } else if (place < flipsEach + 6) {
            // After the last, before the first, and beside one.
            const after = [entriesEach, -1, below(entriesEach)][place - flipsEach - 3] ?? 0;
            expected.push({ rule: "entry_inserted", row: await forge(transaction, userId, after) });
          }
        }
        const faults = await verdict(transaction);
        const ofEntries = faults.filter(({ rule }) => entryRules.has(rule));
        for (const { rule, row } of expected) {
          const named = ofEntries.find((fault) => fault.row_id === row);
          const isNamed = named && (named.rule === rule || rule === "entry_inserted");
          assert.ok(isNamed, `round ${round}: ${rule} ${row} in ${JSON.stringify(ofEntries)}`);
        }
        const others = ofEntries.filter(({ row_id }) => !expected.some(({ row }) => row === row_id));
        assert.deepEqual(others, [], `round ${round}: nothing else is named`);
        const touched = new Set(order.slice(0, flipsEach + 6));
        const innocent = faults.filter(({ user_id }) => people.includes(user_id) && !touched.has(user_id));
        assert.deepEqual(innocent, [], `round ${round}: no other account is`);
        found += expected.length;
        throw undone;
      });
      await assert.rejects(tampered, (error) => {
        if (error !== undone) throw error;
        return true;
      });
    }
    assert.equal(found, rounds * (flipsEach + 6));
    assert.ok(Object.keys(columns).every((column) => (flips.get(column) ?? 0) >= 12));
    context.diagnostic(
      `${accounts * entriesEach} entries: ${rounds * flipsEach} flipped bytes in ${flips.size} columns, ${rounds * 3} removed, ` +
        `${rounds * 3} slipped in: each named, nothing else`,
    );
  }));

/** Rules that name an entry, or the number of one that is gone; the others name its account, grant or hold. */
const entryRules = new Set([
  "entry_changed",
  "entry_missing",
  "entry_inserted",
  "entry_unbalanced",
  "entry_is_not_its_grants",
  "balance_not_carried",
  "spend_without_hold",
]);

/** Entries of every kind, by the functions that write them; in so many accounts, so many each. @returns the accounts */
async function writeLedger({ sql }: DatabaseUnderTest): Promise<string[]> {
  const people = await Promise.all(Array.from({ length: accounts }, () => createUser(sql, 0)));
  await sql.query(`
    create function write_entries(for_user uuid, count bigint, seed float8) returns void language plpgsql as $$
    declare
      step integer := 0;
      payment uuid;
      task uuid;
      call uuid;
    begin
      perform setseed(seed);
      while (select entry_count < count from credit_accounts where user_id = for_user) loop
        step := step + 1;
        if step % 10 = 1 then
          payment := gen_random_uuid();
          perform add_credit(for_user, 'stripe', 5000000 + step, 'pay:' || payment, '{"payment_intent": "pi_1"}', payment);
        elsif step % 10 in (2, 5) then
          perform add_credit(for_user, 'manual', 1 + (random() * 1e6)::bigint, 'gift:' || gen_random_uuid(),
            jsonb_build_object('description', 'gift ' || step, 'actor', 'ada'), null,
            case when step % 10 = 5 then now() + step * interval '1 hour' end);
        elsif step % 10 = 9 and step % 50 = 9 then
          perform expire_grants(for_user, now() + (step + 100) * interval '1 hour');
        elsif step % 10 = 8 and step % 40 = 8 then
          perform take_back_credit(for_user, 'refund', 5000000, 'back:' || step || for_user, '{"n": 1.50}', payment);
        elsif (select debt_microusd > 0 or balance_microusd <= 600000 from credit_accounts where user_id = for_user) then
          continue;
        elsif step % 10 = 4 then
          call := (open_paid_call(for_user, null, null, 'ai-prompt', 3, null, null) ->> 'call_id')::uuid;
          perform close_paid_call(call, 2);
        else
          task := gen_random_uuid();
          perform open_hold(for_user, task, 500000, null);
          -- One in five costs more than was held.
          perform close_hold(task, (random() * 600000)::bigint, jsonb_build_object('task_type', 'wgp', 'step', step));
        end if;
      end loop;
    end $$`);
  await sql`select publish_price('ai-prompt', 'per_unit', 20000, '{}', null, 'ada', 'for a test', 'price-1')`;
  await inParallel(people, 2, async ({ userId }, number) => {
    await sql.transaction(async (transaction) => {
      // What a new balance tells others is not looked at here, and takes longest.
      await transaction`set local session_replication_role = 'replica'`;
      await transaction`select write_entries(${userId}, ${entriesEach}, ${number / accounts})`;
      await transaction`
        update users set credits = (select balance_microusd / 10000.0 from credit_accounts where user_id = ${userId})
         where id = ${userId}`;
    });
  });
  const [counted] = await sql<{ entries: number; types: number }[]>`
    select count(*)::int as entries, count(distinct type)::int as types from credits_ledger`;
  assert.equal(counted?.entries, accounts * entriesEach);
  assert.ok(counted.types >= 6, `${counted.types} kinds of entries`);
  await sql`analyze`;
  return people.map(({ userId }) => userId);
}

interface Fault {
  rule: string;
  user_id: string;
  row_id: string;
}

async function verdict(sql: Sql | Sql): Promise<Fault[]> {
  const [row] = await sql<{ verified: { healthy: boolean; faults: Fault[] } }[]>`
    select verify_ledger() as verified`;
  assert.equal(row?.verified.healthy, row?.verified.faults.length === 0);
  return row?.verified.faults ?? [];
}

/** Flips one byte of a column of an entry. @returns the id that the entry has then */
async function flip(
  sql: Sql,
  { userId, sequence, column }: { userId: string; sequence: number; column: Column },
  below: (limit: number) => number,
): Promise<string> {
  const text = {
    time: "(extract(epoch from created_at) * 1000000)::bigint::text",
    bytes: "encode(hash, 'hex')",
  }[columns[column] as string];
  const [entry] = await sql.query<EntryText[]>(
    `select id, user_id, sequence::int, ${text ?? `${column}::text`} as value
       from credits_ledger where user_id = $1 and sequence = $2`,
    [userId, sequence],
  );
  assert.ok(entry, `${userId} has no entry ${sequence}`);
  for (;;) {
    const value = flipped(columns[column], entry.value, below);
    const assigned = {
      time: "'epoch'::timestamptz + ($2 || ' microseconds')::interval",
      bytes: "decode($2, 'hex')",
      json: "($2::text)::jsonb",
    }[columns[column] as string];
    const type = {
      uuid: "uuid",
      "entry type": "ledger_entry_type",
      cents: "numeric",
      bigint: "bigint",
      text: "text",
    }[columns[column] as string];
    await sql`savepoint before_flip`;
    try {
      const [row] = await sql.query<{ id: string }[]>(
        `update credits_ledger set ${column} = ${assigned ?? `($2::text)::${type}`} where id = $1
           and ${column} is distinct from ${assigned ?? `($2::text)::${type}`}
           returning id`,
        [entry.id, value],
      );
      if (row) return row.id;
    } catch (error) {
      // What the column's own type or domain cannot hold is no value that could stand there.
      const { code } = error as { code?: string };
      if (!["22P02", "22P05", "22021", "23514", "22008", "23505"].includes(code ?? "")) throw error;
    }
    await sql`rollback to savepoint before_flip`;
  }
}

function flipped(
  kind: (typeof columns)[Column],
  value: string | null,
  below: (limit: number) => number,
): string {
  if (value === null) return kind === "uuid" ? randomUUID() : "x";
  const bits = 1 + below(255);
  switch (kind) {
    case "uuid":
    case "bytes": {
      const bytes = Buffer.from(value.replaceAll("-", ""), "hex");
      const at = below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ bits;
      return bytes.toString("hex");
    }
    case "bigint":
    case "time": {
      // The six bytes of a time that keep it within what is a date.
      const at = below(kind === "time" ? 6 : 8);
      return String(BigInt.asIntN(64, BigInt(value) ^ (BigInt(bits) << BigInt(8 * at))));
    }
    case "cents":
      return (Number(value) + bits / 10_000).toFixed(4);
    case "entry type":
      return ["stripe", "manual", "spend", "refund", "auto_topup", "expiry", "dispute", "debt", "write_off"][
        below(9)
      ] as string;
    case "text":
    case "json": {
      const bytes = Buffer.from(value === "{}" ? '{"a": 1}' : value);
      const at = below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 + below(127));
      return bytes.toString();
    }
  }
}

/** An entry that the ledger did not write, chained as if it had: after the entry of this number, or beside it. */
async function forge(sql: Sql, userId: string, after: number): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    with before as (
      select coalesce((select hash from credits_ledger where user_id = ${userId} and sequence = ${after} limit 1), '') as hash,
             coalesce((select balance_after_microusd from credits_ledger
                        where user_id = ${userId} and sequence = ${after} limit 1), 0) as balance
    ), forged as (
      select jsonb_populate_record(null::credits_ledger, jsonb_build_object(
               'id', gen_random_uuid(), 'user_id', ${userId}::uuid, 'sequence', ${after + 1}::int, 'type', 'manual',
               'amount_microusd', 1000000, 'grants_microusd', -1000000, 'revenue_microusd', 0, 'purchases_microusd', 0,
               'write_off_microusd', 0, 'debt_microusd', 0, 'balance_after_microusd', before.balance + 1000000,
               'metadata', '{}'::jsonb, 'created_at', now(), 'amount', 100)) as entry, before.hash as previous
        from before
    )
    insert into credits_ledger (id, user_id, sequence, type, amount_microusd, revenue_microusd, purchases_microusd,
             grants_microusd, write_off_microusd, debt_microusd, amount, balance_after_microusd, metadata, created_at, hash)
    select (entry).id, (entry).user_id, (entry).sequence, (entry).type, (entry).amount_microusd, 0, 0,
           (entry).grants_microusd, 0, 0, (entry).amount, (entry).balance_after_microusd, (entry).metadata, (entry).created_at,
           entry_hash(previous, entry, (entry).sequence, (entry).balance_after_microusd)
      from forged
    returning id`;
  return row?.id ?? "";
}
