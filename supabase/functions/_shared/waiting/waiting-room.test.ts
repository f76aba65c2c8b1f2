import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import { type LaneNews, type Wanted, WaitingRoom, type WaitingRoomOptions } from "./waiting-room.ts";

const anything: Wanted = {
  kind: "lane",
  ownerId: undefined,
  runType: undefined,
  taskTypes: undefined,
  models: undefined,
};
const lane: LaneNews = {
  kind: "lane",
  userId: "ann",
  runType: "gpu",
  taskTypes: ["flux", "flux-1"],
  model: "flux-dev",
  isOpen: true,
};
const never = () => new AbortController().signal;
/** Slower than any test, so that nothing but news makes anybody look. */
const still = { first: 60_000, factor: 1, longest: 60_000 };

/** A queue of tasks, and everybody who looks into it, in order. */
class Queue {
  tasks = 0;
  readonly looks: string[] = [];
  readonly found: string[] = [];
  readonly room: WaitingRoom;
  /** What a look waits for before it ends. */
  gate: Promise<void> = Promise.resolve();

  constructor(options: WaitingRoomOptions = {}) {
    this.room = new WaitingRoom({ hearsNews: () => true, told: still, untold: still, ...options });
  }

  async wait(
    name: string,
    wanted: Wanted = anything,
    options: Partial<Parameters<WaitingRoom["hold"]>[1]> = {},
  ) {
    const times = { seconds: 30, since: this.room.now(), userId: undefined, signal: never(), ...options };
    const found = await this.room.hold(wanted, times, async () => {
      this.looks.push(name);
      await this.gate;
      if (this.tasks === 0) return null;
      this.tasks--;
      return name;
    });
    if (found !== null) this.found.push(found);
    return found;
  }

  add(tasks: number, news: LaneNews = lane) {
    this.tasks += tasks;
    this.room.tell(news);
  }
}

/** Lets everything happen that waits for no time. */
async function settled(): Promise<void> {
  for (let round = 0; round < 20; round++) await turn();
}

async function withQueue(
  use: (queue: Queue) => Promise<void>,
  options: WaitingRoomOptions = {},
): Promise<void> {
  const queue = new Queue(options);
  try {
    await use(queue);
  } finally {
    queue.room.close();
  }
}

test("news sends one of many, the one who came first; a find sends the next, an empty look nobody", () =>
  withQueue(async (queue) => {
    const waits = ["a", "b", "c", "d"].map((name) => queue.wait(name));
    queue.add(2);
    assert.equal(await waits[0], "a");
    assert.equal(await waits[1], "b");
    await settled();
    assert.deepEqual(queue.looks, ["a", "b", "c"]);
    // Who looked in vain keeps its seat.
    queue.add(1);
    assert.equal(await waits[2], "c");
    await settled();
    assert.deepEqual(queue.looks, ["a", "b", "c", "c", "d"]);
    assert.equal(queue.room.size, 1);
  }));

test("only one of a group looks at a time, however much news comes meanwhile; it is looked after once more", () =>
  withQueue(async (queue) => {
    const gate = withResolvers();
    queue.gate = gate.promise;
    void queue.wait("a");
    void queue.wait("b");
    for (let count = 0; count < 100; count++) queue.room.tell(lane);
    await settled();
    assert.deepEqual(queue.looks, ["a"]);
    queue.room.tell(lane);
    gate.resolve();
    await settled();
    assert.deepEqual(queue.looks, ["a", "a"]);
  }));

test("news that comes between an empty look and the seat is not lost", () =>
  withQueue(async (queue) => {
    const since = queue.room.now();
    queue.add(1);
    assert.equal(await queue.wait("late", anything, { since }), "late");
    // A find of the group is news too: with the first task gone, somebody looks for a second.
    const before = queue.room.now();
    const first = queue.wait("first");
    queue.add(2);
    assert.equal(await first, "first");
    assert.equal(await queue.wait("second", anything, { since: before }), "second");
  }));

test("news from before the look is stale, and more news than is kept is taken for news", () =>
  withQueue(async (queue) => {
    queue.room.tell(lane);
    void queue.wait("after");
    await settled();
    assert.deepEqual(queue.looks, []);
    const since = queue.room.now();
    for (let count = 0; count < 5_000; count++)
      queue.room.tell({ kind: "task", taskId: "t", status: "Queued" });
    void queue.wait("gap", { ...anything, runType: "gpu" }, { since });
    await settled();
    assert.deepEqual(queue.looks, ["gap"]);
  }));

test("news reaches the groups that it is for, and one of each", () =>
  withQueue(async (queue) => {
    const groups: [string, Wanted][] = [
      ["all", anything],
      ["gpu", { ...anything, runType: "gpu" }],
      ["api", { ...anything, runType: "api" }],
      ["alias", { ...anything, taskTypes: ["other", "flux-1"] }],
      ["type", { ...anything, taskTypes: ["other"] }],
      ["model", { ...anything, models: ["flux-dev"] }],
      ["other model", { ...anything, models: ["wan"] }],
      ["nothing", { ...anything, models: [] }],
      ["ann", { ...anything, ownerId: "ann" }],
      ["bob", { ...anything, ownerId: "bob" }],
      ["status", { kind: "task", taskId: "flux", notStatuses: ["Queued"] }],
    ];
    for (const [name, wanted] of groups) {
      for (let one = 0; one < 3; one++) void queue.wait(name, wanted);
    }
    queue.room.tell(lane);
    await settled();
    assert.deepEqual(queue.looks.toSorted(), ["alias", "all", "ann", "gpu", "model"]);
    // What is not open to the cloud is its owner's all the same.
    queue.looks.length = 0;
    queue.room.tell({ ...lane, isOpen: false });
    await settled();
    assert.deepEqual(queue.looks, ["ann"]);
    queue.looks.length = 0;
    queue.room.tell({ kind: "task", taskId: "flux", status: "Queued" });
    queue.room.tell({ kind: "task", taskId: "other", status: "Complete" });
    await settled();
    assert.deepEqual(queue.looks, []);
    queue.room.tell({ kind: "task", taskId: "flux", status: "Complete" });
    await settled();
    assert.deepEqual(queue.looks, ["status"]);
  }));

test("one who leaves when sent passes the news on, and never looks", () =>
  withQueue(async (queue) => {
    const client = new AbortController();
    const gone = queue.wait("gone", anything, { signal: client.signal });
    const next = queue.wait("next");
    queue.add(1);
    client.abort();
    assert.equal(await gone, null);
    assert.equal(await next, "next");
    assert.deepEqual(queue.looks, ["next"]);
    assert.equal(await queue.wait("gone before", anything, { signal: client.signal }), null);
    assert.equal(queue.room.size, 0);
  }));

test("a look that fails ends its own wait alone; the next looks a little later", () =>
  withQueue(
    async ({ room }) => {
      const times = { seconds: 30, since: 0, userId: undefined, signal: never() };
      const failing = room.hold(anything, times, () => Promise.reject(new Error("revoked")));
      const next = room.hold(anything, times, () => Promise.resolve("found"));
      room.tell(lane);
      await assert.rejects(failing, /revoked/);
      assert.equal(await next, "found");
    },
    { told: { first: 10, factor: 1, longest: 60_000 } },
  ));

test("the wait ends with its time, and with the room", () =>
  withQueue(async (queue) => {
    assert.equal(await queue.wait("short", anything, { seconds: 0.02 }), null);
    const long = queue.wait("long");
    queue.room.close();
    assert.equal(await long, null);
    assert.equal(await queue.wait("closed"), null);
    assert.deepEqual([queue.looks, queue.room.size], [[], 0]);
  }));

test("beyond the seats, of all and of one user, nobody waits", () =>
  withQueue(
    async (queue) => {
      const ann = { userId: "ann" };
      void queue.wait("1", anything, ann);
      const second = queue.wait("2", anything, { ...ann, seconds: 0.02 });
      assert.equal(await queue.wait("3", anything, ann), null);
      void queue.wait("4", anything, { userId: "bob" });
      assert.equal(queue.room.size, 3);
      assert.equal(await queue.wait("5"), null);
      await second;
      assert.equal(queue.room.size, 2);
      void queue.wait("6", anything, ann);
      assert.equal(queue.room.size, 3);
    },
    { seats: 3, seatsOfUser: 2 },
  ));

test("where no news is told, one of a group looks now and then, ever more seldom", () =>
  withQueue(
    async (queue) => {
      for (const name of ["a", "b", "c"]) void queue.wait(name);
      queue.tasks = 0;
      await pause(1_000);
      // After 100 ms, then 100, 200, 400, 800 …, each a quarter more or less, and seen at ticks of 20.
      assert.ok(queue.looks.length >= 2 && queue.looks.length <= 5, `${queue.looks.length} looks`);
      assert.deepEqual(new Set(queue.looks), new Set(["a"]));
      queue.tasks = 1;
      while (queue.found.length === 0) await pause(10);
      assert.deepEqual(queue.found, ["a"]);
    },
    { hearsNews: () => false, untold: { first: 100, factor: 2, longest: 1_000 } },
  ));

test("however many groups there are, together they look as often as said", () =>
  withQueue(
    async (queue) => {
      for (let user = 0; user < 100; user++) void queue.wait("x", { ...anything, ownerId: `user ${user}` });
      await pause(1_000);
      // 100 groups by 50 a second: one round of looks takes 1.5 to 2.5 s.
      assert.ok(queue.looks.length <= 10, `${queue.looks.length} looks`);
      while (queue.looks.length < 100) await pause(50);
    },
    { hearsNews: () => false, untold: { first: 20, factor: 1, longest: 20 }, looksPerSecond: 50 },
  ));

test("when news is told again after a silence, everybody's group looks soon", () => {
  let hears = true;
  return withQueue(
    async (queue) => {
      void queue.wait("a");
      await pause(120);
      hears = false;
      await pause(120);
      queue.tasks = 1;
      hears = true;
      while (queue.found.length === 0) await pause(10);
      assert.deepEqual(queue.looks, ["a"]);
    },
    { hearsNews: () => hears, told: { first: 10, factor: 10_000, longest: 60_000 } },
  );
});

test("random order: no task stays while somebody waits for it, and nobody looks without a reason", async () => {
  for (let round = 0; round < 50; round++) {
    await withQueue(async (queue) => {
      let [added, waiting] = [0, 0];
      for (let step = 0; step < 60; step++) {
        const dice = Math.random();
        if (dice < 0.4) {
          // As a claim does: a first look, during which anything may happen, and then the seat.
          waiting++;
          const since = queue.room.now();
          void (async () => {
            await settledFor(Math.floor(Math.random() * 3));
            if (queue.tasks > 0) {
              queue.tasks--;
              queue.found.push("at once");
              return;
            }
            await settledFor(Math.floor(Math.random() * 3));
            await queue.wait(`w${step}`, anything, { since });
          })();
        } else if (dice < 0.7) {
          const tasks = 1 + Math.floor(Math.random() * 3);
          added += tasks;
          queue.add(tasks);
        } else await settledFor(1);
      }
      await settled();
      assert.equal(queue.found.length, Math.min(added, waiting));
      assert.ok(queue.looks.length <= 2 * (added + waiting), `${queue.looks.length} looks`);
    });
  }
});

async function settledFor(turns: number): Promise<void> {
  for (let round = 0; round < turns; round++) await turn();
}

function withResolvers(): { promise: Promise<void>; resolve(): void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
