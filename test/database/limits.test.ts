import assert from "node:assert/strict";
import { test } from "node:test";
import { withDatabase } from "../support/database.ts";
import { refusedWith } from "../support/factories.ts";

test("take_rate_limit(): of 60 at once at limit 20, exactly 20 pass", () =>
  withDatabase(async (database) => {
    const sessions = await Promise.all(Array.from({ length: 30 }, () => database.session()));
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        refusedWith(
          sessions[index % 30]?.query("select take_rate_limit('key', 20, 60)") ?? Promise.reject(new Error()),
        ),
      ),
    );
    assert.equal(answers.filter((code) => code === "none").length, 20);
    assert.equal(answers.filter((code) => code === "rate_limited").length, 40);
  }));

test("a window that straddles two minutes passes no more than one does, and empties in time", () =>
  withDatabase(async (database) => {
    const take = () => refusedWith(database.sql`select take_rate_limit('key', 3, 60)`);
    const ago = (seconds: number) =>
      database.sql`update rate_limits set newest_slice = newest_slice - ${seconds / 5}`;

    assert.deepEqual([await take(), await take()], ["none", "none"]);
    await ago(50);
    assert.deepEqual([await take(), await take()], ["none", "rate_limited"]);
    await ago(15);
    assert.deepEqual([await take(), await take(), await take()], ["none", "none", "rate_limited"]);
  }));

test("keys are limited apart from each other", () =>
  withDatabase(async (database) => {
    const take = (key: string) => refusedWith(database.sql`select take_rate_limit(${key}, 1, 60)`);
    assert.deepEqual([await take("a"), await take("b"), await take("a")], ["none", "none", "rate_limited"]);
  }));
