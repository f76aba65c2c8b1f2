import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Session, withDatabase } from "../support/database.ts";
import { createUser, refusedWith } from "../support/factories.ts";

test("admit() knows a live token, and refuses a revoked, an expired and one without the scope", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const hash = randomBytes(32);
    await database.sql`select generate_pat(${user.userId}, ${hash}, 'abcd', 'worker', ${["tasks:run"]})`;
    const admit = (scope: string) =>
      database.sql`select user_id from admit(null, ${hash}, ${scope}, 'test', 100, 60)`;

    assert.equal((await admit("tasks:run"))[0]?.["user_id"], user.userId);
    assert.equal(await refusedWith(admit("tasks:write")), "insufficient_scope");
    await database.sql`update personal_access_tokens set expires_at = now() - interval '1 second'`;
    assert.equal(await refusedWith(admit("tasks:run")), "unauthenticated");
    await database.sql`update personal_access_tokens set expires_at = null, revoked_at = now()`;
    assert.equal(await refusedWith(admit("tasks:run")), "unauthenticated");
  }));

test("a token's use is noted at most once a minute, and never waited for", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const hash = randomBytes(32);
    await database.sql`select generate_pat(${user.userId}, ${hash}, 'abcd', 'worker', ${["tasks:run"]})`;
    const [first, second] = [await database.session(), await database.session()];
    const admit = (session: typeof first, key: string) =>
      session.query("select user_id from admit(null, $1, 'tasks:run', $2, 100, 60)", [hash, key]);

    await first.query("begin");
    await admit(first, "one");
    await second.query("set lock_timeout = '1ms'");
    await admit(second, "other");
    await first.query("commit");
    const [before] = await database.sql`select xmin::text, last_used_at from personal_access_tokens`;
    await admit(second, "other");
    const [after] = await database.sql`select xmin::text from personal_access_tokens`;

    assert.ok(before?.["last_used_at"]);
    assert.equal(after?.["xmin"], before?.["xmin"]);
  }));

test("the fiftieth token is the last, also for two racers", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const make = (session: Session) =>
      refusedWith(
        session.query("select generate_pat($1, $2, 'abcd', 'worker', array['tasks:run'])", [
          user.userId,
          randomBytes(32),
        ]),
      );
    const [first, second] = [await database.session(), await database.session()];
    for (let token = 0; token < 49; token++) await make(first);

    await first.query("begin");
    assert.equal(await make(first), "none");
    const waiting = make(second);
    await first.query("commit");
    assert.equal(await waiting, "token_limit_reached");
  }));

test("revoking is idempotent, and somebody else's token is not found", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    await database.sql`select generate_pat(${user.userId}, ${randomBytes(32)}, 'abcd', 'worker', ${["tasks:run"]})`;
    const [token] = await database.sql`select id from personal_access_tokens`;
    const revoke = (userId: string) =>
      refusedWith(database.sql`select revoke_pat(${userId}, ${token?.["id"] as string})`);

    assert.equal(await revoke(other.userId), "token_not_found");
    assert.equal(await revoke(user.userId), "none");
    assert.equal(await revoke(user.userId), "none");
  }));
