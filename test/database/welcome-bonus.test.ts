import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { withDatabase } from "../support/database.ts";
import { refusedWith } from "../support/factories.ts";

/** The settings as they are without an operator's decision; the tests' database gives everybody a bonus. */
async function byDefault(sql: Pool, { isLocal }: { isLocal: boolean }): Promise<void> {
  await sql`
    update credit_settings
       set welcome_bonus_needs_proven_address = true, welcome_bonuses_per_network_and_day = 5, is_local_host = ${isLocal}`;
}

/** Somebody signs up, as the standalone host makes them: every address counts as confirmed, and none is proven. */
async function signUp(
  sql: Pool,
  address: string | null,
  email = `${randomUUID()}@gmail.com`,
): Promise<string> {
  const userId = randomUUID();
  await sql.transaction(async (transaction) => {
    await transaction`select set_config('darkroom.client_address', ${address ?? ""}, true)`;
    await transaction`insert into auth.users (id, email, email_confirmed_at) values (${userId}, ${email}, now())`;
    await transaction`insert into auth.sessions (user_id, ip) values (${userId}, ${address}::inet)`;
  });
  return userId;
}

async function bonuses(sql: Pool): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::int as count from welcome_bonuses`;
  return row?.count ?? 0;
}

async function refusal(sql: Pool, userId: string): Promise<string | null> {
  const [row] = await sql<{ reason: string | null }[]>`select welcome_bonus_refusal(${userId}) as reason`;
  return row?.reason ?? null;
}

test("40 sign-ups from one network get 20 welcome bonuses on a local host, and none elsewhere", () =>
  withDatabase(async ({ sql }) => {
    await byDefault(sql, { isLocal: false });
    for (let person = 0; person < 40; person++) {
      const userId = await signUp(sql, `203.0.113.${person}`);
      assert.equal(await refusal(sql, userId), "address_not_proven");
    }
    assert.equal(await bonuses(sql), 0);

    await byDefault(sql, { isLocal: true });
    const people: string[] = [];
    for (let person = 0; person < 40; person++) people.push(await signUp(sql, `203.0.113.${person}`));
    assert.equal(await bonuses(sql), 20);
    assert.equal(await refusal(sql, people[39] ?? ""), "network_limit");
    // Asked for again, from the session.
    assert.equal(
      await refusedWith(sql`select grant_welcome_bonus(${people[39] ?? ""})`),
      "welcome_bonus_refused",
    );
    await signUp(sql, "198.51.100.7");
    assert.equal(await bonuses(sql), 21);
    // A day later the network has room again.
    await sql`update welcome_bonuses set created_at = created_at - interval '25 hours'`;
    await sql`select grant_welcome_bonus(${people[39] ?? ""})`;
    assert.equal(await bonuses(sql), 22);
  }));

test("addresses of one IPv6 /48, and an IPv4 address in both its forms, are one network each, of five bonuses a day", () =>
  withDatabase(async ({ sql }) => {
    await byDefault(sql, { isLocal: false });
    await sql`update credit_settings set welcome_bonus_needs_proven_address = false`;
    for (let person = 0; person < 6; person++) await signUp(sql, `2001:db8:7:${person}::${person}`);
    assert.equal(await bonuses(sql), 5);
    for (let person = 0; person < 6; person++) {
      await signUp(sql, `${person % 2 ? "::ffff:" : ""}192.0.2.${person}`);
    }
    assert.equal(await bonuses(sql), 10);
    await signUp(sql, "::ffff:198.51.100.1");
    assert.equal(await bonuses(sql), 11);
  }));

test("a person whose network is not known gets no welcome bonus until a session says it", () =>
  withDatabase(async ({ sql }) => {
    await byDefault(sql, { isLocal: true });
    const userId = await signUp(sql, null);
    assert.equal(await refusal(sql, userId), "network_unknown");
    // Whoever signs out has no session.
    await sql`delete from auth.sessions where user_id = ${userId}`;
    assert.equal(await refusal(sql, userId), "network_unknown");
    await sql`insert into auth.sessions (user_id, ip) values (${userId}, '192.0.2.1')`;
    assert.equal(await refusal(sql, userId), null);
  }));

test("an address is proven by a mail that was sent before it was confirmed, or by an identity provider, and by nothing that its owner writes", () =>
  withDatabase(async ({ sql }) => {
    await byDefault(sql, { isLocal: false });
    // As in Supabase's own table.
    await sql`alter table auth.users add column confirmation_sent_at timestamptz`;
    const change = async (columns: Record<string, string | null>) => {
      const userId = await signUp(sql, "192.0.2.1");
      for (const [name, value] of Object.entries(columns)) {
        await sql.query(`update auth.users set ${name} = $2 where id = $1`, [userId, value]);
      }
      return (await bonuses(sql)) > 0 ? "granted" : await refusal(sql, userId);
    };
    assert.equal(await change({}), "address_not_proven");
    assert.equal(
      await change({ raw_user_meta_data: '{"email_verified": true, "provider": "google"}' }),
      "address_not_proven",
    );
    assert.equal(await change({ raw_app_meta_data: '{"provider": "email"}' }), "address_not_proven");
    assert.equal(await change({ raw_app_meta_data: '{"provider": "phone"}' }), "address_not_proven");
    // A mail that was sent after it counted as confirmed proves nothing.
    assert.equal(await change({ confirmation_sent_at: "2100-01-01" }), "address_not_proven");
    assert.equal(await change({ raw_app_meta_data: '{"provider": "google"}' }), null);
    assert.equal(await change({ confirmation_sent_at: "2020-01-01" }), null);
  }));

test("of two people who take the last welcome bonus of a network at once, one has it", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    await sql`update credit_settings set welcome_bonuses_per_network_and_day = 1, welcome_bonus_microusd = 0`;
    const people = [await signUp(sql, "192.0.2.1"), await signUp(sql, "192.0.2.2")];
    await sql`update credit_settings set welcome_bonus_microusd = 5000000`;
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    await first.query("select grant_welcome_bonus($1)", [people[0] ?? ""]);
    const waiting = refusedWith(second.query("select grant_welcome_bonus($1)", [people[1] ?? ""]));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await waiting, "welcome_bonus_refused");
    assert.equal(await bonuses(sql), 1);
  }));
