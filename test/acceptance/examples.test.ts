import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import { type Host, startHost } from "../../server/host.ts";
import { projectPath } from "../../server/migrate.ts";
import { startFakeFal } from "../support/fake-fal.ts";
import { filmAt } from "../support/films.ts";
import { createTestDatabase, dropTestDatabase, type TestDatabase } from "../support/database.ts";

const run = promisify(execFile);
let database: TestDatabase;
let folder: string;
let host: Host;

before(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(path.join(tmpdir(), "darkroom-examples-"));
  host = await startHost({
    port: 0,
    dataDirectory: folder,
    databaseUrl: database.url,
    localWorker: false,
    checkAnswers: true,
    log: pino({ level: "silent" }),
  });
});

after(async () => {
  await host.stop();
  await dropTestDatabase(database);
  await rm(folder, { recursive: true });
});

test("npm run demo plays the round trip, with the worker's command doing the work, which stops when told", async () => {
  const worker = startWorker();
  try {
    const stdout = await runExample("round-trip.ts");
    assert.match(stdout, /quoted +0\.65 credits/);
    assert.match(stdout, /complete +\[█{20}\]/);
    assert.match(stdout, /paid +0\.65 credits, 499\.35 left/);
    const url = /See the picture: +(\S+)/.exec(stdout)?.[1] ?? "";
    const picture = await fetch(url);
    assert.equal(picture.headers.get("content-type"), "image/png");
    assert.equal(
      Buffer.from(await picture.arrayBuffer())
        .subarray(1, 4)
        .toString(),
      "PNG",
    );
  } finally {
    worker.child.kill("SIGTERM");
  }
  const [code] = (await once(worker.child, "exit")) as [number | null];
  assert.equal(code, 0, worker.output());
  assert.ok(!worker.output().includes(host.keys.serviceRoleKey));
});

test("examples/money.ts goes from the quote to the receipt and the statement", async () => {
  const worker = startWorker();
  try {
    const stdout = await runExample("money.ts");
    assert.match(stdout, /^balance +500 credits, 0 held, 500 available$/m);
    assert.match(stdout, /^quoted +0\.65 credits, until \d\d:\d\d$/m);
    assert.match(stdout, /^balance +500 credits, 0\.65 held, 499\.35 available$/m);
    assert.match(
      stdout,
      /^receipt +[0-9A-F]{12}-2: 0\.65 credits\n +z_image_turbo: 1 output, 0\.65 credits$/m,
    );
    assert.match(stdout, /^balance +499\.35 credits, 0 held, 499\.35 available$/m);
    assert.match(stdout, /^2,[^,]+,spend,-0\.65,-6500,499\.35,4993500,0,/m);
  } finally {
    worker.child.kill("SIGTERM");
    await once(worker.child, "exit");
  }
});

test("examples/generators.ts makes a batch of images and a travel by family", async () => {
  const worker = startWorker();
  try {
    const stdout = await runExample("generators.ts");
    assert.match(stdout, /^quoted +2 images for 1\.3 credits$/m);
    assert.match(stdout, /^created +2 images of 1353x762$/m);
    assert.equal(stdout.match(/^drawn +http\S+$/gm)?.length, 2);
    assert.match(stdout, /^created +a travel; "Dawn to noon" waits in its shot for a file$/m);
    assert.match(stdout, /^held +3\.336 credits; it costs 33\.36 at most$/m);
    assert.match(stdout, /^cancelled +0 credits held$/m);
  } finally {
    worker.child.kill("SIGTERM");
    await once(worker.child, "exit");
  }
});

test("examples/travel.ts goes from prompts to a film that its parent generation shows", async () => {
  const worker = startWorker();
  try {
    const stdout = await runExample("travel.ts");
    for (const [type, count] of [
      ["z_image_turbo", 3],
      ["travel_orchestrator", 1],
      ["travel_segment", 2],
      ["travel_stitch", 1],
    ] as const) {
      assert.equal(stdout.match(new RegExp(`${type} +Complete`, "g"))?.length, count, type);
    }
    assert.match(stdout, /^paid +[\d.]+ credits for the travel$/m);
    const film = await filmAt(/See the film: +(\S+)/.exec(stdout)?.[1]);
    assert.deepEqual([film.width, film.height, film.frames], [480, 270, 33 + 33 - 6]);
  } finally {
    worker.child.kill("SIGTERM");
    await once(worker.child, "exit");
  }
});

test("examples/travel-with-fal.ts goes from prompts to one film of FAL at the end of a shot's timeline", async () => {
  const fal = await startFakeFal();
  // Each job has ended when it is first asked for.
  fal.plan = (job) => (job.steps = ["ended"]);
  const worker = startWorker(["--provider", "fal", "--concurrency", "4"], fal.variables);
  try {
    const stdout = await runExample("travel-with-fal.ts");
    for (const [type, count] of [
      ["z_image_turbo", 3],
      ["travel_orchestrator", 1],
      ["travel_segment", 2],
      ["travel_stitch", 1],
    ] as const) {
      assert.equal(stdout.match(new RegExp(`${type} +Complete`, "g"))?.length, count, type);
    }
    const places = [...stdout.matchAll(/^frame +(\d+) {2}(image|video) +http\S+$/gm)];
    assert.deepEqual(
      places.map(([, frame, type]) => [Number(frame), type]),
      [
        [0, "image"],
        [81, "image"],
        [162, "image"],
        [243, "video"],
      ],
    );
    const film = await filmAt(/See the film: +(\S+)/.exec(stdout)?.[1]);
    assert.ok(Math.abs(film.seconds - (33 + 33 - 6) / 16) <= 1 / 16, `the film takes ${film.seconds} s`);
    assert.deepEqual(fal.refusals, []);
  } finally {
    worker.child.kill("SIGTERM");
    await once(worker.child, "exit");
    await fal.close();
  }
});

function startWorker(args: string[] = [], variables: Record<string, string> = {}) {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "worker/cli.ts", "--url", host.apiUrl, "--token", host.keys.serviceRoleKey, ...args],
    {
      cwd: projectPath(""),
      env: { ...process.env, LOG_LEVEL: "info", ...variables },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const lines: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => lines.push(chunk.toString()));
  return { child, output: () => lines.join("") };
}

async function runExample(file: string): Promise<string> {
  const { stdout } = await run(process.execPath, ["--import", "tsx", `examples/${file}`], {
    cwd: projectPath(""),
    env: { ...process.env, SUPABASE_URL: host.apiUrl, SUPABASE_ANON_KEY: host.keys.anonKey },
    timeout: 300_000,
  });
  return stdout;
}
