import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { FrontDoor } from "./front-door.ts";

test("every answer says `connection: close` from the announcement on, also that of a request under way", () =>
  withDoor({ delay: 150 }, async (door) => {
    const before = await open(door);
    assert.doesNotMatch(await ask(before, "/"), /connection: close/i);
    const slow = await open(door);
    const underWay = ask(slow, "/slow");
    await pause(20);

    const announced = door.announceStop();
    assert.match(await ask(before, "/"), /^HTTP\/1\.1 200 [^]*connection: close/i);
    assert.match(await ask(await open(door), "/"), /^HTTP\/1\.1 200 [^]*connection: close/i);
    door.finishSlow();
    assert.match(await underWay, /^HTTP\/1\.1 200 [^]*connection: close/i);
    await announced;
    await door.drain();
  }));

test("an idle connection may be used for as long as the delay, and is closed then", () =>
  withDoor({ delay: 300 }, async (door) => {
    const used = await open(door);
    await ask(used, "/");
    const left = await open(door);
    await ask(left, "/");
    const leftClosed = once(left, "close");
    const stopping = door.announceStop().then(() => door.drain());
    await pause(200);
    assert.match(await ask(used, "/"), /^HTTP\/1\.1 200 /);
    await leftClosed;
    await stopping;
  }));

test("a connection that never sent a request does not hold the drain", () =>
  withDoor({ delay: 50 }, async (door) => {
    const closed = once(await open(door), "close");
    const begun = performance.now();
    await door.announceStop();
    await door.drain();
    assert.ok(performance.now() - begun < 1_000);
    await closed;
  }));

test("a request whose headers are still arriving is answered", () =>
  withDoor({ delay: 100 }, async (door) => {
    const socket = await open(door);
    socket.write("GET / HTTP/1.1\r\n");
    await pause(20);
    const stopping = door.announceStop().then(() => door.drain());
    await pause(300);
    const answer = answerOf(socket);
    socket.write("Host: here\r\n\r\n");
    assert.match(await answer, /^HTTP\/1\.1 200 /);
    await stopping;
  }));

test("drain() takes no new connections, closes idle ones, and lets a request end", () =>
  withDoor({}, async (door) => {
    const [first, second] = [await open(door), await open(door)];
    const secondClosed = once(second, "close");
    const answered = ask(first, "/slow");
    await pause(20);
    const cutting = new AbortController();
    const drained = door.drain(cutting.signal);
    await pause(100);
    await assert.rejects(open(door), /ECONNREFUSED/);
    await secondClosed;
    door.finishSlow();
    assert.match(await answered, /^HTTP\/1\.1 200 /);
    await drained;
  }));

test("drain() ends at its signal though a request hangs", () =>
  withDoor({}, async (door) => {
    const hanging = await open(door);
    hanging.write("GET /slow HTTP/1.1\r\nHost: here\r\n\r\n");
    await pause(20);
    const closed = once(hanging, "close");
    await door.drain(AbortSignal.timeout(200));
    await closed;
  }));

test("clients that open a connection for each request lose none when the listener closes", async () => {
  for (let stop = 0; stop < 5; stop++) {
    await withDoor({ delay: 50 }, async (door) => {
      let answers = 0;
      let reportBusy: (() => void) | undefined;
      const busy = new Promise<void>((resolve) => (reportBusy = resolve));
      async function useUntilRefused(): Promise<void> {
        for (;;) {
          const socket = await open(door).catch((error: Error & { code?: string }) => {
            assert.equal(error.code, "ECONNREFUSED");
          });
          if (!socket) return;
          assert.match(await ask(socket, "/"), /^HTTP\/1\.1 200 /);
          if (++answers === 100) reportBusy?.();
          socket.destroy();
        }
      }
      const clients = Array.from({ length: 16 }, useUntilRefused);
      await busy;
      await door.announceStop();
      await door.drain();
      await Promise.all(clients);
    });
  }
});

interface DoorUnderTest extends FrontDoor {
  /** Also after it has stopped to listen. */
  lastPort: number;
  finishSlow(): void;
}

async function withDoor(
  options: { delay?: number },
  work: (door: DoorUnderTest) => Promise<void>,
): Promise<void> {
  let finish: (() => void) | undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const door = Object.assign(new FrontDoor(options), { lastPort: 0, finishSlow: () => finish?.() });
  door.handler = async (request) => {
    if (new URL(request.url).pathname === "/slow") await finished;
    return new Response("done");
  };
  await door.listen(0, "127.0.0.1");
  door.lastPort = door.port;
  door.open();
  try {
    await work(door);
  } finally {
    await door.close();
  }
}

async function open(door: DoorUnderTest): Promise<Socket> {
  const socket = connect(door.lastPort, "127.0.0.1");
  await once(socket, "connect");
  // Else its end would not be read.
  return socket.resume();
}

async function ask(socket: Socket, path: string): Promise<string> {
  const answer = answerOf(socket);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: here\r\n\r\n`);
  return await answer;
}

/** Headers and body of the next answer; fails when the connection ends before it is complete. */
function answerOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      if (text.endsWith("done")) resolve(text);
    };
    socket.on("data", read);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`The connection was torn after: ${text}`)));
  });
}
