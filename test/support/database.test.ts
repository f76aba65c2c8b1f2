import assert from "node:assert/strict";
import { test } from "node:test";
import { withDatabase } from "./database.ts";

test("withDatabase() gives each test a database of its own, many at once", async () => {
  const names = await Promise.all(
    Array.from({ length: 6 }, () =>
      withDatabase(async (database) => {
        await database.sql`create table public.own as select 1 as one`;
        return database.name;
      }),
    ),
  );
  assert.equal(new Set(names).size, 6);
});

test("two sessions are two connections", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    await first.query("create table public.seen (number int)");
    await first.query("begin");
    await first.query("insert into public.seen values ($1)", [1]);
    assert.deepEqual((await second.query("select * from public.seen")).rows, []);
    await first.query("commit");
    assert.deepEqual((await second.query("select * from public.seen")).rows, [{ number: 1 }]);
  }));

test("sessionAs() acts as the role, with the claims of a token", () =>
  withDatabase(async (database) => {
    const sub = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
    const session = await database.sessionAs("authenticated", { sub });
    const { rows } = await session.query(
      "select current_user as role, auth.uid() as uid, auth.role() as claimed",
    );
    assert.deepEqual(rows, [{ role: "authenticated", uid: sub, claimed: "authenticated" }]);
    await assert.rejects(session.query("select * from auth.users"), /permission denied/);
  }));

test("the platform lets nobody but the owner create or read in public without a grant", () =>
  withDatabase(async (database) => {
    await database.sql`create table public.bare (secret text)`;
    for (const role of ["anon", "authenticated", "service_role"] as const) {
      const session = await database.sessionAs(role);
      await assert.rejects(session.query("select * from public.bare"), /permission denied/);
      await assert.rejects(session.query("create table public.mine (x int)"), /permission denied/);
    }
  }));

test("realtime.send() and broadcast_changes() store messages for delivery", () =>
  withDatabase(async (database) => {
    await database.sql`select realtime.send('{"progress": 5}', 'task-update', 'task-updates:p')`;
    await database.sql.query(`
      create table public.watched (id int);
      create function public.announce() returns trigger language plpgsql as $$
      begin
        perform realtime.broadcast_changes('room', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
        return null;
      end $$;
      create trigger announce after insert on public.watched for each row execute function public.announce();
      insert into public.watched values (7);`);
    const messages = await database.sql<{ id: string; payload: Record<string, unknown> }[]>`
      select id, topic, event, private, extension, payload from realtime.messages order by inserted_at, topic desc`;
    assert.equal(messages.length, 2);
    assert.deepEqual(
      { ...messages[0] },
      {
        id: messages[0]?.id,
        topic: "task-updates:p",
        event: "task-update",
        private: true,
        extension: "broadcast",
        payload: { id: messages[0]?.id, progress: 5 },
      },
    );
    assert.deepEqual(messages[1]?.payload["record"], { id: 7 });
  }));

test("storage's path functions read a name as Supabase's do", () =>
  withDatabase(async (database) => {
    const [row] = await database.sql`
      select storage.foldername('a/b/c.png') as folder, storage.filename('a/b/c.png') as file,
             storage.extension('a/b/c.tar.png') as extension`;
    assert.deepEqual({ ...row }, { folder: ["a", "b"], file: "c.png", extension: "png" });
  }));
