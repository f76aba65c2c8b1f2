import assert from "node:assert/strict";
import { test } from "node:test";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import { accountOf, createUser, refusedWith } from "../support/factories.ts";

test("two operators make one code at once: the first one's content stays, the second is refused or answered the same", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    for (const [code, credits, expected] of [
      ["SAMETWICE", 250, "none"],
      ["OTHERWISE", 300, "promo_code_taken"],
    ] as const) {
      await first.query("begin");
      await make(first, code, 250);
      const meanwhile = refusedWith(make(second, code, credits));
      await database.lockIsWaitedFor();
      await first.query("commit");
      assert.equal(await meanwhile, expected);
      const codes =
        await database.sql`select amount_microusd::int as amount from promo_codes where code = ${code}`;
      assert.deepEqual([...codes], [{ amount: 2_500_000 }]);
    }
  }));

test("of two people who redeem the last use at once, one has it", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    const [ada, bob] = [await confirmedUser(database), await confirmedUser(database)];
    await make(first, "LASTUSE", 250, 1);
    await first.query("begin");
    await first.query("select redeem_promo_code($1, 'LASTUSE')", [ada]);
    const meanwhile = refusedWith(second.query("select redeem_promo_code($1, 'LASTUSE')", [bob]));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await meanwhile, "promo_code_ended");
    assert.deepEqual(
      [(await accountOf(first, ada)).balance, (await accountOf(first, bob)).balance],
      [2_500_000, 0],
    );
  }));

test("a code that one person redeems twice at once is redeemed once", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    const ada = await confirmedUser(database);
    await make(first, "ONCE", 250);
    await first.query("begin");
    await first.query("select redeem_promo_code($1, 'ONCE')", [ada]);
    const meanwhile = second.query<{ answer: { deduplicated: boolean } }>(
      "select redeem_promo_code($1, 'once') as answer",
      [ada],
    );
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal((await meanwhile).rows[0]?.answer.deduplicated, true);
    assert.equal((await accountOf(first, ada)).balance, 2_500_000);
  }));

async function make(session: Session, code: string, credits: number, uses = 5): Promise<void> {
  await session.query("select create_promo_code($1, $2, $3, null, null, null, 'spring', 'test')", [
    code,
    credits,
    uses,
  ]);
}

/** Somebody with a confirmed address and nothing on the account. */
async function confirmedUser({ sql }: DatabaseUnderTest): Promise<string> {
  await sql`update credit_settings set welcome_bonus_microusd = 0`;
  const { userId } = await createUser(sql, 0);
  await sql`update auth.users set is_anonymous = false, email_confirmed_at = now() where id = ${userId}`;
  return userId;
}
