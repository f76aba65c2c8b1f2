import assert from "node:assert/strict";
import { once } from "node:events";
import { get } from "node:http";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createUser } from "../../test/support/factories.ts";
import { withDatabase } from "../../test/support/database.ts";
import { eventually, type Heard, listen, subscribed, withRealtime } from "./realtime-under-test.ts";

const isPrivate = { config: { private: true } };

function presentAs(key: string): { config: { presence: { key: string; enabled: true } } } {
  return { config: { presence: { key, enabled: true } } };
}

function payloads<Payload>(heard: Heard[]): Payload[] {
  return heard.map(({ payload }) => payload as Payload);
}

for (const polling of [false, true]) {
  test(`what SQL sends arrives after its commit, not before${polling ? ", by polling too" : ""}`, () =>
    withDatabase((database) =>
      withRealtime(
        database,
        async ({ client }) => {
          const [writer, other] = [await database.session(), await database.session()];
          const channel = client().channel("room");
          const heard = listen(channel);
          await subscribed(channel);

          await writer.query("begin");
          await writer.query(`select realtime.send('{"n": 1}', 'ours', 'room', false)`);
          await other.query("begin");
          await other.query(`select realtime.send('{"n": 2}', 'undone', 'room', false)`);
          await other.query("rollback");
          await other.query(`select realtime.send('{"n": 3}', 'theirs', 'room', false)`);
          await eventually(() => heard.length > 0, "the committed message arrives");
          await writer.query("commit");
          await eventually(() => heard.length > 1, "the other message arrives");
          assert.deepEqual(
            heard.map(({ event }) => event),
            ["theirs", "ours"],
          );
          assert.equal(payloads<{ n: number }>(heard)[1]?.n, 1);
        },
        { polling, pollMilliseconds: 20 },
      ),
    ));
}

test("both versions of the protocol hear the same, in the order of commits", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client }) => {
      const channels = (["1.0.0", "2.0.0"] as const).map((version) => client({ version }).channel("room"));
      const heard = channels.map(listen);
      await Promise.all(channels.map(subscribed));
      const long = "e".repeat(300);
      for (let number = 0; number < 200; number++) {
        await database.sql`
          select realtime.send(${database.sql.json({ number, text: "ü" })}, ${number === 100 ? long : "é"}, 'room', false)`;
      }
      await eventually(() => heard.every((messages) => messages.length === 200), "all arrive");
      for (const messages of heard) {
        assert.deepEqual(
          payloads<{ number: number }>(messages).map(({ number }) => number),
          Array.from({ length: 200 }, (_, number) => number),
        );
        assert.equal(payloads<{ text: string }>(messages)[7]?.text, "ü");
        assert.deepEqual([messages[7]?.event, messages[100]?.event], ["é", long]);
      }
    }),
  ));

test("owners hear private topics of theirs, and nobody else does", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, clientOf, warnings }) => {
      const [owner, stranger] = [await createUser(database.sql), await createUser(database.sql)];
      const ownTopics = [
        `task-updates:${owner.projectId}`,
        `generations:${owner.projectId}`,
        `credits:${owner.userId}`,
      ];
      const clients = {
        owner: await clientOf(owner.userId),
        stranger: await clientOf(stranger.userId),
        visitor: client(),
      };
      for (const topic of ownTopics) {
        const heard = await (async () => {
          const channel = clients.owner.channel(topic, isPrivate);
          const messages = listen(channel);
          await subscribed(channel);
          return messages;
        })();
        for (const denied of [clients.stranger, clients.visitor]) {
          await assert.rejects(subscribed(denied.channel(topic, isPrivate)), {
            message: `Unauthorized: You do not have permissions to read from this Channel topic: ${topic}`,
          });
        }
        await database.sql`select realtime.send('{"n": 1}', 'e', ${topic})`;
        await eventually(() => heard.length === 1, "the owner hears it");
      }
      assert.deepEqual(warnings, []);
    }),
  ));

test("the service may listen to any private topic", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, context }) => {
      for (const key of [context.keys.secretKey, context.keys.serviceRoleKey]) {
        await subscribed(client({ key }).channel("anything", isPrivate));
      }
    }),
  ));

test("topics that no one could own are denied, and raise nothing", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ clientOf, warnings }) => {
      const { userId, projectId } = await createUser(database.sql);
      const supabase = await clientOf(userId);
      const session = await database.sessionAs("authenticated", { sub: userId });
      const hostile = [
        "task-updates:",
        "task-updates:not-a-uuid",
        `task-updates:${projectId}:more`,
        `Task-Updates:${projectId}`,
        "credits:null",
        "credits:",
        "generations:' or true --",
        "generations:%",
        "__proto__",
        "x".repeat(255),
      ];
      for (const topic of hostile) {
        const { rows } = await session.query<{ may: boolean }>("select public.may_read_topic($1) as may", [
          topic,
        ]);
        assert.equal(rows[0]?.may, false, topic);
        await assert.rejects(subscribed(supabase.channel(topic, isPrivate)), /Unauthorized/, topic);
      }
      const { rows } = await session.query<{ may: boolean }>("select public.may_read_topic(null) as may");
      assert.equal(rows[0]?.may, false);
      assert.deepEqual(warnings, []);
    }),
  ));

test("a policy that fails lets nobody in", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ clientOf }) => {
      await database.sql.query(`
        create policy broken on realtime.messages for select to authenticated using ((topic::int) > 0)`);
      const { userId } = await createUser(database.sql);
      const channel = (await clientOf(userId)).channel("no number", isPrivate);
      await assert.rejects(subscribed(channel), /Unauthorized/);
    }),
  ));

test("public and private channels of one name are two", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, context }) => {
      const open = client().channel("room");
      const closed = client({ key: context.keys.secretKey }).channel("room", isPrivate);
      const [inOpen, inClosed] = [listen(open), listen(closed)];
      await Promise.all([subscribed(open), subscribed(closed)]);
      await database.sql.query(`
        select realtime.send('{}', 'secret', 'room', true); select realtime.send('{}', 'known', 'room', false)`);
      await open.send({ type: "broadcast", event: "said", payload: {} });
      await closed.send({ type: "broadcast", event: "whispered", payload: {} });
      await eventually(() => inOpen.length > 0 && inClosed.length > 0, "both hear");
      await pause(50);
      assert.deepEqual(
        inOpen.map(({ event }) => event),
        ["known"],
      );
      assert.deepEqual(
        inClosed.map(({ event }) => event),
        ["secret"],
      );
    }),
  ));

test("clients hear each other, themselves only if they ask, and are told if they ask", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client }) => {
      const config = { broadcast: { self: true, ack: true } };
      const echoing = client({ version: "1.0.0" }).channel("room", { config });
      const quiet = client().channel("room");
      const [inEchoing, inQuiet] = [listen(echoing), listen(quiet)];
      await Promise.all([subscribed(echoing), subscribed(quiet)]);
      assert.equal(await echoing.send({ type: "broadcast", event: "a", payload: { ü: [1] } }), "ok");
      await quiet.send({ type: "broadcast", event: "b", payload: { text: "é" } });
      await eventually(() => inEchoing.length === 2 && inQuiet.length === 1, "all hear");
      assert.deepEqual(inEchoing, [
        { event: "a", payload: { ü: [1] } },
        { event: "b", payload: { text: "é" } },
      ]);
      assert.deepEqual(inQuiet, [{ event: "a", payload: { ü: [1] } }]);
    }),
  ));

test("bytes are relayed as bytes", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client }) => {
      const [sender, receiver] = [client().channel("room"), client().channel("room")];
      const heard = listen(receiver);
      await Promise.all([subscribed(sender), subscribed(receiver)]);
      await sender.send({ type: "broadcast", event: "bytes", payload: new Uint8Array([0, 255, 7]).buffer });
      await eventually(() => heard.length === 1, "they arrive");
      assert.deepEqual(
        Buffer.from(payloads<ArrayBuffer>(heard)[0] ?? new ArrayBuffer()),
        Buffer.from([0, 255, 7]),
      );
    }),
  ));

test("only whom the insert policy lets may send to a private channel", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ clientOf }) => {
      await database.sql.query(`
        create policy read_rooms on realtime.messages for select to authenticated
          using (realtime.topic() like 'room:%');
        create policy write_open on realtime.messages for insert to authenticated
          with check (realtime.topic() = 'room:open' and extension = 'broadcast')`);
      const { userId } = await createUser(database.sql);
      const supabase = await clientOf(userId);
      const results: Record<string, unknown> = {};
      for (const topic of ["room:open", "room:shut"]) {
        const channel = supabase.channel(topic, { config: { private: true, broadcast: { ack: true } } });
        await subscribed(channel);
        results[topic] = await channel.send({ type: "broadcast", event: "e", payload: {} });
        results[`presence in ${topic}`] = await channel.track({ here: true });
      }
      assert.deepEqual(results, {
        "room:open": "ok",
        "presence in room:open": "error",
        "room:shut": "error",
        "presence in room:shut": "error",
      });
    }),
  ));

test("presence shows who is there, who comes, what changes and who leaves", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client }) => {
      const ann = client().channel("room", presentAs("ann"));
      const bob = client({ version: "1.0.0" }).channel("room", presentAs("constructor"));
      const left: string[] = [];
      ann.on("presence", { event: "leave" }, ({ key }) => left.push(key));
      bob.on("presence", { event: "sync" }, () => undefined);
      await subscribed(ann);
      assert.equal(await ann.track({ mood: "calm" }), "ok");
      await subscribed(bob);
      await bob.track({ mood: "busy" });
      const keys = (channel: typeof ann) => Object.keys(channel.presenceState()).sort();
      await eventually(() => keys(ann).length === 2 && keys(bob).length === 2, "each sees both");
      assert.deepEqual(keys(bob), ["ann", "constructor"]);

      await ann.track({ mood: "glad" });
      const moods = () => bob.presenceState<{ mood: string }>()["ann"]?.map(({ mood }) => mood);
      await eventually(() => moods()?.join() === "glad", "the change arrives");
      await bob.untrack();
      await eventually(() => keys(ann).length === 1, "the leaving arrives");
      assert.deepEqual(left.at(-1), "constructor");
      await ann.unsubscribe();
      await eventually(() => keys(bob).length === 0, "leaving the channel ends presence");
    }),
  ));

test("a channel closes when its token expires, and says why", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, token }) => {
      const { userId } = await createUser(database.sql);
      const supabase = client();
      const shortLived = await token(userId, 2);
      await supabase.realtime.setAuth(shortLived);
      const channel = supabase.channel(`credits:${userId}`, isPrivate);
      const said: unknown[] = [];
      channel.on("system", {}, (payload: unknown) => said.push(payload));
      const statuses: string[] = [];
      channel.subscribe((status) => statuses.push(status));
      await eventually(() => statuses.includes("CLOSED"), "the channel closes");
      assert.deepEqual(statuses, ["SUBSCRIBED", "CLOSED"]);
      assert.deepEqual(said, [
        { extension: "system", status: "error", message: "Token has expired", channel: `credits:${userId}` },
      ]);
      const again = client();
      await again.realtime.setAuth(shortLived);
      await assert.rejects(subscribed(again.channel("room")), /InvalidJWTToken/);
    }),
  ));

test("a new token keeps a channel open, one without rights closes it", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, token }) => {
      const [owner, stranger] = [await createUser(database.sql), await createUser(database.sql)];
      const supabase = client();
      await supabase.realtime.setAuth(await token(owner.userId, 2));
      const channel = supabase.channel(`credits:${owner.userId}`, isPrivate);
      const heard = listen(channel);
      let isClosed = false;
      channel.subscribe((status) => (isClosed ||= status === "CLOSED"));
      await eventually(() => channel.state === "joined", "it is joined");
      await supabase.realtime.setAuth(await token(owner.userId, 600));
      await pause(2_500);
      await database.sql`select realtime.send('{}', 'still', ${`credits:${owner.userId}`})`;
      await eventually(() => heard.length === 1, "the channel outlives its first token");
      await supabase.realtime.setAuth(await token(stranger.userId));
      await eventually(() => isClosed, "it closes for a stranger");
    }),
  ));

test("rights that end close the channel at the next look", () =>
  withDatabase((database) =>
    withRealtime(
      database,
      async ({ clientOf }) => {
        const { userId, projectId } = await createUser(database.sql);
        const channel = (await clientOf(userId)).channel(`task-updates:${projectId}`, isPrivate);
        const statuses: string[] = [];
        channel.subscribe((status) => statuses.push(status));
        await pause(300);
        assert.deepEqual(statuses, ["SUBSCRIBED"]);
        await database.sql`delete from projects where id = ${projectId}`;
        await eventually(() => statuses.includes("CLOSED"), "the channel closes");
      },
      { recheckMilliseconds: 100 },
    ),
  ));

test("postgres_changes are refused in plain words", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client }) => {
      const channel = client()
        .channel("room")
        .on("postgres_changes", { event: "*", schema: "public", table: "tasks" }, () => undefined);
      await assert.rejects(subscribed(channel), /does not send postgres_changes yet/);
    }),
  ));

test("HTTP sends to every listener; private topics ask for the right to", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ client, clientOf, context, url }) => {
      const { userId } = await createUser(database.sql);
      const { keys } = context;
      const hears = client({ key: keys.secretKey });
      const [open, closed] = [hears.channel("a/b: c"), hears.channel("own", isPrivate)];
      const [inOpen, inClosed] = [listen(open), listen(closed)];
      await Promise.all([subscribed(open), subscribed(closed)]);

      const user = await clientOf(userId);
      assert.deepEqual(await user.channel("a/b: c").httpSend("say", { n: 1 }), { success: true });
      await assert.rejects(user.channel("own", isPrivate).httpSend("say", { n: 2 }));
      await assert.rejects(client().channel("a/b: c").httpSend("say", { n: 3 }));
      await database.sql.query(`
        create policy write_own on realtime.messages for insert to authenticated
          with check (realtime.topic() = 'own')`);
      assert.deepEqual(await user.channel("own", isPrivate).httpSend("say", { n: 4 }), { success: true });

      const post = async (path: string, body: string, headers: Record<string, string>) =>
        (
          await fetch(`${url}/realtime/v1/api/broadcast${path}`, {
            method: "POST",
            headers: { "content-type": "application/json", ...headers },
            body,
          })
        ).status;
      const service = { apikey: keys.secretKey };
      const batch = JSON.stringify({
        messages: [
          { topic: "a/b: c", event: "batch", payload: { n: 5 } },
          { topic: "own", event: "batch", payload: { n: 6 }, private: true },
        ],
      });
      assert.equal(await post("", batch, service), 202);
      assert.equal(await post("", batch, { authorization: `Bearer ${keys.serviceRoleKey}` }), 202);
      await eventually(() => inOpen.length === 3 && inClosed.length === 3, "all arrive");
      assert.equal(payloads<{ n: number }>(inOpen)[0]?.n, 1);
      assert.equal(payloads<{ n: number }>(inClosed)[0]?.n, 4);

      const refusals: [string, string, Record<string, string>, number][] = [
        ["", batch, {}, 401],
        ["", batch, { apikey: "sb_secret_wrong" }, 401],
        ["", "{", service, 400],
        ["", "{}", service, 400],
        ["", JSON.stringify({ messages: [] }), service, 400],
        ["", JSON.stringify({ messages: [{ topic: "", event: "e", payload: {} }] }), service, 400],
        ["", JSON.stringify({ messages: [{ topic: "a", event: "e", payload: { x: "\0" } }] }), service, 400],
        [`/${"x".repeat(256)}/events/e`, "{}", service, 400],
        ["/t/events/e", `"${"x".repeat(1_048_576)}"`, service, 413],
        ["/t/events/e", "x", { ...service, "content-type": "application/octet-stream" }, 415],
      ];
      for (const [path, body, headers, status] of refusals) {
        assert.equal(await post(path, body, headers), status, `${path} ${body.slice(0, 60)}`);
      }
    }),
  ));

test("a socket needs a key and a known path", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ url, context, rawSocket }) => {
      async function answer(path: string): Promise<{ status: number | undefined; body: string }> {
        const headers = {
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
          "sec-websocket-version": "13",
        };
        const request = get(`${url}${path}`, { headers });
        const [response] = (await once(request, "response")) as [
          AsyncIterable<Buffer> & { statusCode?: number },
        ];
        let body = "";
        for await (const chunk of response) body += chunk.toString();
        return { status: response.statusCode, body };
      }
      const socket = "/realtime/v1/websocket";
      for (const query of [
        "",
        "?apikey=",
        "?apikey=sb_publishable_wrong",
        "?apikey=a.b.c",
        "?apikey=%00%0a",
      ]) {
        const { status, body } = await answer(`${socket}${query}`);
        assert.deepEqual(
          [status, (JSON.parse(body) as { error: string }).error],
          [401, "unauthenticated"],
          query,
        );
      }
      const { publishableKey, anonKey } = context.keys;
      assert.equal((await answer(`${socket}?apikey=${publishableKey}&vsn=3.0.0`)).status, 400);
      assert.equal((await answer(`/realtime/v1/other?apikey=${publishableKey}`)).status, 404);
      assert.equal((await answer("/elsewhere")).status, 404);
      await rawSocket(`apikey=${anonKey}&vsn=1.0.0`);
    }),
  ));

test("hostile frames end their own socket, or are answered, and nothing else", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ rawSocket, client, warnings }) => {
      const channel = client().channel("room");
      const heard = listen(channel);
      await subscribed(channel);
      const ending: (string | Uint8Array)[] = [
        "{",
        "[]",
        "null",
        Buffer.from([]),
        Buffer.from([3, 255, 255, 255, 255, 255, 1, 0]),
        Buffer.from([3, 0, 0, 0, 0, 0, 1, 123]),
        '[null,"1","realtime:room","broadcast",{"event":{}}]',
      ];
      for (const frame of ending) {
        const { send, closed } = await rawSocket();
        send(frame);
        assert.equal(await closed, 1007, String(frame));
      }
      const large = await rawSocket();
      large.send("x".repeat(1_048_577));
      assert.equal(await large.closed, 1009);

      const socket = await rawSocket();
      const join = (topic: string, payload: object, ref = "1") =>
        socket.send([ref, ref, topic, "phx_join", payload]);
      const reasonOf = async () => {
        const reply = (await socket.next()) as [
          string,
          string,
          string,
          string,
          { response: { reason?: string } },
        ];
        assert.equal(reply[3], "phx_reply");
        return reply[4].response.reason;
      };
      join("__proto__", { config: {} });
      assert.equal(await reasonOf(), "unmatched topic");
      join("realtime:", {});
      assert.match((await reasonOf()) ?? "", /TopicNameRequired/);
      join(`realtime:${"x".repeat(256)}`, {});
      assert.match((await reasonOf()) ?? "", /InvalidTopicName/);
      join("realtime:a\0b", {});
      assert.match((await reasonOf()) ?? "", /InvalidTopicName/);
      join("realtime:room", { config: "no object", access_token: "no token" });
      assert.match((await reasonOf()) ?? "", /InvalidJWTToken/);
      join("realtime:room", { config: "no object", access_token: "x\r\ny" });
      assert.match((await reasonOf()) ?? "", /InvalidJWTToken/);
      join("realtime:constructor", { config: { presence: [], broadcast: 7, private: "yes" } });
      assert.equal(await reasonOf(), undefined);
      socket.send(["1", "2", "realtime:constructor", "__proto__", {}]);
      assert.equal(await reasonOf(), "unknown event");
      socket.send(["1", "3", "realtime:constructor", "presence", { event: "track", payload: [] }]);
      assert.match((await reasonOf()) ?? "", /must be a map/);
      socket.send(["1", "4", "realtime:nowhere", "broadcast", { event: "e" }]);
      assert.equal(await reasonOf(), "unmatched topic");
      assert.deepEqual([heard, warnings], [[], []]);
    }),
  ));

test("joining again closes the earlier channel; leaving is answered and closes", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ rawSocket }) => {
      const socket = await rawSocket();
      const topic = "realtime:room";
      const ok = (ref: string, joinRef: string, response: object) => [
        joinRef,
        ref,
        topic,
        "phx_reply",
        { status: "ok", response },
      ];
      socket.send(["1", "1", topic, "phx_join", { config: {} }]);
      assert.deepEqual(await socket.next(), ok("1", "1", { postgres_changes: [] }));
      socket.send(["2", "2", topic, "phx_join", { config: {} }]);
      assert.deepEqual(await socket.next(), ["1", "1", topic, "phx_close", {}]);
      assert.deepEqual(await socket.next(), ok("2", "2", { postgres_changes: [] }));
      // Of the earlier channel, so it is nobody's.
      socket.send(["1", "3", topic, "phx_leave", {}]);
      socket.send(["2", "4", topic, "phx_leave", {}]);
      assert.deepEqual(await socket.next(), ok("4", "2", {}));
      assert.deepEqual(await socket.next(), ["2", "2", topic, "phx_close", {}]);
      socket.send([null, "5", "phoenix", "heartbeat", {}]);
      assert.deepEqual(await socket.next(), [
        null,
        "5",
        "phoenix",
        "phx_reply",
        { status: "ok", response: {} },
      ]);
    }),
  ));

test("a socket has so many channels and sends so much, and is told when that is enough", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ rawSocket }) => {
      const socket = await rawSocket();
      const reasons = async (count: number) => {
        const found: (string | undefined)[] = [];
        for (let index = 0; index < count; index++) {
          const frame = (await socket.next()) as [
            null,
            null,
            string,
            string,
            { response: { reason?: string } },
          ];
          found.push(frame[4].response.reason);
        }
        return found;
      };
      for (let index = 0; index < 100; index++) {
        socket.send([
          "1",
          "1",
          `realtime:room${index}`,
          "phx_join",
          { config: { broadcast: { ack: true } } },
        ]);
      }
      assert.deepEqual(await reasons(100), Array<undefined>(100).fill(undefined));
      socket.send(["1", "1", "realtime:more", "phx_join", {}]);
      assert.match((await reasons(1))[0] ?? "", /ChannelRateLimitReached|ClientJoinRateLimitReached/);
      await pause(1_000);
      socket.send(["1", "1", "realtime:more", "phx_join", {}]);
      assert.match((await reasons(1))[0] ?? "", /ChannelRateLimitReached/);

      for (let index = 0; index < 110; index++) {
        socket.send(["1", "1", "realtime:room0", "broadcast", { event: "e", payload: {} }]);
      }
      const sent = await reasons(110);
      assert.deepEqual(sent.slice(100), Array<string>(10).fill("Too many messages per second"));
      assert.deepEqual(sent.slice(0, 100), Array<undefined>(100).fill(undefined));
    }),
  ));

test("a socket that is silent is closed", () =>
  withDatabase((database) =>
    withRealtime(
      database,
      async ({ rawSocket }) => {
        const [silent, beating] = [await rawSocket(), await rawSocket()];
        const timer = setInterval(() => beating.send([null, "1", "phoenix", "heartbeat", {}]), 50);
        assert.equal(await silent.closed, 1008);
        assert.equal(beating.socket.readyState, beating.socket.OPEN);
        clearInterval(timer);
      },
      { silenceMilliseconds: 300 },
    ),
  ));

test("a socket that does not read is closed, and costs no more memory", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ rawSocket, client, warnings }) => {
      const slow = await rawSocket();
      slow.send(["1", "1", "realtime:room", "phx_join", { config: {} }]);
      await slow.next();
      slow.socket.pause();
      const channel = client().channel("room");
      const heard = listen(channel);
      await subscribed(channel);
      const text = "x".repeat(1_000_000);
      for (let round = 0; round < 30; round++) {
        await database.sql`select realtime.send(${database.sql.json({ text })}, 'e', 'room', false)`;
      }
      await eventually(() => heard.length === 30, "whoever reads hears all");
      assert.match(warnings.join(""), /too slow/);
      slow.socket.resume();
      assert.equal(await slow.closed, 1006);
    }),
  ));

test("stop() closes sockets as going away", () =>
  withDatabase((database) =>
    withRealtime(database, async ({ rawSocket, realtime, url }) => {
      const socket = await rawSocket();
      await realtime.stop();
      assert.equal(await socket.closed, 1001);
      const slots = await database.sql`select from pg_replication_slots where database = current_database()`;
      assert.equal(slots.length, 0);
      const connections = await database.sql`
        select from pg_stat_activity where datname = current_database() and application_name = 'darkroom-realtime'`;
      assert.equal(connections.length, 0, url);
    }),
  ));

test("two hosts on one database deliver to their own sockets", () =>
  withDatabase((database) =>
    withRealtime(database, (first) =>
      withRealtime(database, async (second) => {
        const channels = [first.client().channel("room"), second.client().channel("room")];
        const heard = channels.map(listen);
        await Promise.all(channels.map(subscribed));
        const key = second.context.keys.secretKey;
        await first.client({ key }).channel("room").httpSend("e", { n: 1 });
        await eventually(() => heard.every((messages) => messages.length === 1), "both hear");
      }),
    ),
  ));
