/**
 * Runs the tests on a PostgreSQL of their own: `npm test`, or `npm test -- claim` for the files whose
 * path contains a word. Arguments that begin with `--` go to the test runner of Node.
 */
import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { pino } from "pino";
import { openPool } from "../supabase/functions/_shared/database/pool.ts";
import { lockFolder } from "../server/folder-lock.ts";
import { migrate, projectPath } from "../server/migrate.ts";
import { startEmbeddedPostgres } from "../server/postgres/embedded.ts";
import { clusterUrlVariable, templateName } from "../test/support/database.ts";

const endpointsAtOnce = 8;
const log = pino({ level: "warn" }, pino.destination(2));

const words = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const options = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const files = (await testFiles(words)).sort();
if (files.length === 0) {
  console.error(`No test file's path contains ${words.join(" or ")}.`);
  process.exit(1);
}

const directory = await mkdtemp(path.join(await folderForDatabases(), "darkroom-test-"));
// As root, the server runs as somebody else, who must be able to enter.
await chmod(directory, 0o755);
const cluster = await startEmbeddedPostgres({
  directory: path.join(directory, "postgres"),
  lock: await lockFolder(directory),
  settings: { fsync: "off", synchronous_commit: "off", full_page_writes: "off" },
  log,
});
// Ctrl-C reaches the tests too; they end by themselves, and the server is stopped after them.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

try {
  await makeTemplate(cluster.url);
  process.exitCode = await runTests(words.length === 0 ? await withGroupedEndpoints(files) : files);
} finally {
  await cluster.stop();
  await rm(cluster.directory, { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
}

/** In memory where there is room: a run makes and drops a database for each of some thousand tests. */
async function folderForDatabases(): Promise<string> {
  const memory = "/dev/shm";
  const room = await statfs(memory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return room && room.bavail * room.bsize > 6 * 2 ** 30 ? memory : tmpdir();
}

async function testFiles(parts: string[]): Promise<string[]> {
  const skipped = new Set(["node_modules", "bench", ".git", ".darkroom"]);
  const root = projectPath("");
  const found: string[] = [];
  async function search(folder: string): Promise<void> {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory() && !skipped.has(entry.name)) await search(file);
      else if (entry.isFile() && entry.name.endsWith(".test.ts")) found.push(path.relative(root, file));
    }
  }
  await search(root);
  if (parts.length === 0) return found;
  return found.filter((file) => parts.some((part) => file.split(path.sep).join("/").includes(part)));
}

async function makeTemplate(url: string): Promise<void> {
  const admin = openPool({ url, name: "darkroom", connections: 1 });
  await admin.query(`create database ${templateName}`);
  const templateUrl = new URL(url);
  templateUrl.pathname = `/${templateName}`;
  const template = openPool({ url: templateUrl.href, name: "darkroom", connections: 1 });
  try {
    await migrate(template, { log });
    // As an operator who gives everybody a welcome bonus; the tests of the rule set it to its default.
    await template`
      update public.credit_settings
         set welcome_bonus_needs_proven_address = false, welcome_bonuses_per_network_and_day = null`;
    await template.query(await readFile(projectPath("test/support/price-book.sql"), "utf8"));
  } finally {
    await template.end();
  }
  await admin.query(`alter database ${templateName} with is_template true allow_connections false`);
  await admin.end();
}

/**
 * Puts the tests of several endpoints into one process each. A process that runs one of them spends most of its time on loading the
 * same modules.
 */
async function withGroupedEndpoints(all: readonly string[]): Promise<string[]> {
  const isEndpoint = (file: string) => path.basename(file) === "endpoint.test.ts";
  const endpoints = all.filter(isEndpoint);
  const groups: string[] = [];
  for (let at = 0; at < endpoints.length; at += endpointsAtOnce) {
    const group = path.join(directory, `endpoints-${groups.length + 1}.test.mjs`);
    const imports = endpoints
      .slice(at, at + endpointsAtOnce)
      .map((file) => `import ${JSON.stringify(pathToFileURL(projectPath(file)).href)};\n`);
    await writeFile(group, imports.join(""));
    groups.push(group);
  }
  return [...all.filter((file) => !isEndpoint(file)), ...groups];
}

function runTests(chosen: readonly string[]): Promise<number> {
  const node = [
    "--import",
    "tsx",
    "--test",
    "--test-reporter=spec",
    // Most of a test is waiting: for a lock, a timer, a process that starts.
    `--test-concurrency=${availableParallelism() + 1}`,
    "--test-timeout=600000",
  ];
  const child = spawn(process.execPath, [...node, ...options, ...chosen], {
    cwd: projectPath(""),
    stdio: "inherit",
    env: { ...process.env, [clusterUrlVariable]: cluster.url },
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
