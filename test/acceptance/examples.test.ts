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
  const environment = { ...process.env, LOG_LEVEL: "info" };
  const worker = spawn(
    process.execPath,
    ["--import", "tsx", "worker/cli.ts", "--url", host.apiUrl, "--token", host.keys.serviceRoleKey],
    { cwd: projectPath(""), env: environment, stdio: ["ignore", "pipe", "inherit"] },
  );
  const output: string[] = [];
  worker.stdout.on("data", (chunk: Buffer) => output.push(chunk.toString()));
  try {
    const { stdout } = await run(process.execPath, ["--import", "tsx", "examples/round-trip.ts"], {
      cwd: projectPath(""),
      env: { ...environment, SUPABASE_URL: host.apiUrl, SUPABASE_ANON_KEY: host.keys.anonKey },
      timeout: 90_000,
    });
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
    worker.kill("SIGTERM");
  }
  const [code] = (await once(worker, "exit")) as [number | null];
  assert.equal(code, 0, output.join(""));
  assert.ok(!output.join("").includes(host.keys.serviceRoleKey));
});
