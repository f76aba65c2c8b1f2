import assert from "node:assert/strict";
import { test } from "node:test";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import { createUser, refusedWith } from "../support/factories.ts";

async function ask(
  session: Session,
  userId: string | null,
  calls: number,
  type = "ai-prompt",
): Promise<void> {
  await session.query("select open_paid_call($1, null, null, $2, 1, null, null, $3)", [userId, type, calls]);
}

async function allow({ sql }: DatabaseUnderTest, calls: number | null): Promise<void> {
  await sql`update credit_settings set free_calls_per_day = ${calls}`;
}

test("an account is given as many free model calls a day as its allowance says, of both kinds together, and no more", () =>
  withDatabase(async (database) => {
    await allow(database, 100);
    const session = await database.session();
    const [user, other] = [await createUser(database.sql, 0), await createUser(database.sql, 0)];
    await ask(session, user.userId, 50);
    await ask(session, user.userId, 2, "ai-voice-prompt");
    await ask(session, user.userId, 47);
    const refused = await ask(session, user.userId, 2).catch((error: unknown) => refusal(error));
    assert.ok(refused instanceof AppError);
    assert.equal(refused.code, "free_allowance_used");
    assert.equal(refused.status, 429);
    const { retry_after: wait, ...details } = refused.details;
    assert.deepEqual(details, { limit: 100, required: 2, remaining: 1 });
    assert.ok(Number(wait) > 0 && Number(wait) <= 86_400, String(wait));
    await ask(session, user.userId, 1);
    assert.equal(await refusedWith(ask(session, user.userId, 1)), "free_allowance_used");
    await ask(session, other.userId, 100);
    assert.equal(await refusedWith(ask(session, other.userId, 1)), "free_allowance_used");
  }));

test("a request with more model calls than the whole allowance is refused and counts nothing", () =>
  withDatabase(async (database) => {
    await allow(database, 10);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 0);
    assert.equal(await refusedWith(ask(session, userId, 11)), "free_allowance_used");
    await ask(session, userId, 10);
  }));

test("the allowance is new on the next day, unlimited when it is null, and nothing at 0", () =>
  withDatabase(async (database) => {
    await allow(database, 3);
    const session = await database.session();
    const { userId } = await createUser(database.sql, 0);
    await ask(session, userId, 3);
    await database.sql`update free_calls set day = day - 1`;
    await ask(session, userId, 3);
    assert.equal(await refusedWith(ask(session, userId, 1)), "free_allowance_used");
    await allow(database, null);
    await ask(session, userId, 1_000);
    await allow(database, 0);
    assert.equal(await refusedWith(ask(session, userId, 1)), "free_allowance_used");
  }));

test("of two requests for the last free calls at once, one is answered", () =>
  withDatabase(async (database) => {
    await allow(database, 5);
    const { userId } = await createUser(database.sql, 0);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    await ask(first, userId, 3);
    const waiting = refusedWith(ask(second, userId, 3));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await waiting, "free_allowance_used");
  }));

test("calls that are paid, calls of the service for nobody and calls that ask no model count against no allowance", () =>
  withDatabase(async (database) => {
    await allow(database, 1);
    const session = await database.session();
    const { userId } = await createUser(database.sql);
    await ask(session, null, 50);
    await session.query("select open_paid_call($1, null, null, 'ai-prompt', 0, null, null, 50)", [userId]);
    await database.sql`select publish_price('ai-prompt', 'per_unit', 10, '{}', null, 'test', 'prompts cost', 'key')`;
    await ask(session, userId, 50);
    assert.equal((await database.sql`select from free_calls`).length, 0);
  }));
