/**
 * Breaks one line of a copy of the project at a time and runs the test that must turn red: `npm run mutants` all of
 * them, `npm run mutants -- holds` those of test/mutants/holds.ts, `npm run mutants -- check:5` those of a check.
 * Exits with 1 when a mutant survives, or when a test is red, or does not run, before anything is broken. Whatever goes
 * wrong with one mutant, the others are tried, and the last lines say what became of all of them.
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { projectPath } from "../server/migrate.ts";
import type { Mutant } from "../test/mutants/mutant.ts";

interface Run {
  exitCode: number;
  output: string;
}

/** Longer than any of these tests takes; each has a limit of its own within it. */
const longestRunMilliseconds = 900_000;
/** How long output may come after a run has ended. */
const leftOverMilliseconds = 10_000;

const words = process.argv.slice(2);
const mutants = await chosenMutants();
if (mutants.length === 0) {
  console.error(`No mutant is of ${words.join(" or ")}.`);
  process.exit(1);
}

const copy = await mkdtemp(path.join(tmpdir(), "darkroom-mutants-"));
/** What the tests of a file say before anything is broken. */
const unbroken = new Map<string, Promise<string | undefined>>();
const whole = new Map<string, string>();
const begun = Date.now();
const survivors: string[] = [];
let tried = 0;
let isInterrupted = false;
// Ctrl-C ends the test that runs; the copy is removed after it.
process.on("SIGINT", () => (isInterrupted = true));
process.on("SIGTERM", () => (isInterrupted = true));
try {
  await copyProject();
  for (const [file, content] of await generatedFiles()) whole.set(file, content);
  for (const mutant of mutants) {
    const from = Date.now();
    const failure = await failureOf(mutant).catch(
      (error: unknown) => `it could not be tried: ${String(error)}`,
    );
    if (isInterrupted) break;
    tried++;
    const title = `check ${mutant.check}: ${mutant.breaks}`;
    if (failure) survivors.push(`${title} (${failure})`);
    console.log(
      `${failure ? "NOT KILLED" : "killed"}  ${title}  ${tried} of ${mutants.length}, ${secondsSince(from)} s${failure ? `\n  ${failure}` : ""}`,
    );
  }
} finally {
  await rm(copy, { recursive: true, force: true });
}
for (const survivor of survivors) console.log(`NOT KILLED  ${survivor}`);
console.log(`${tried - survivors.length} of ${mutants.length} mutants killed in ${secondsSince(begun)} s`);
if (tried < mutants.length) console.log(`interrupted: ${mutants.length - tried} were not tried`);
process.exit(survivors.length > 0 || tried < mutants.length ? 1 : 0);

function secondsSince(time: number): number {
  return Math.round((Date.now() - time) / 1000);
}

async function chosenMutants(): Promise<Mutant[]> {
  const folder = projectPath("test/mutants");
  const files = (await readdir(folder)).filter((file) => file.endsWith(".ts") && file !== "mutant.ts");
  const found: Mutant[] = [];
  for (const file of files.sort()) {
    const { mutants } = (await import(path.join(folder, file))) as { mutants: Mutant[] };
    const isFileChosen = words.some((word) => !word.includes(":") && file.includes(word));
    found.push(
      ...mutants.filter(
        ({ check }) => words.length === 0 || isFileChosen || words.includes(`check:${check}`),
      ),
    );
  }
  return found;
}

/** Why a mutant counts as not killed; nothing when its test turned red. */
async function failureOf({ file, line, broken, tests, named }: Mutant): Promise<string | undefined> {
  if (!unbroken.has(tests)) unbroken.set(tests, whyNotGreen(tests));
  const notGreen = await unbroken.get(tests);
  if (notGreen) return notGreen;

  const target = path.join(copy, file);
  const text = await readFile(target, "utf8");
  if (text.split(line).length !== 2) return `its line is not in ${file} once`;
  await writeFile(
    target,
    text.replace(line, () => broken),
  );
  try {
    if (file.startsWith("supabase/schemas/")) await generateFrom(await needsManifest(tests));
    const { exitCode, output } = await runTests(tests, [named]);
    if (exitCode === 0) {
      return counted(output, "pass") > 0 ? "survived: the test is green" : "no test has such a name";
    }
    // A test must have said so, not a project that does not start.
    return counted(output, "fail") > 0 ? undefined : `no test ran: ${output.slice(-500)}`;
  } finally {
    await writeFile(target, text);
    for (const [generated, content] of whole) await writeFile(generated, content);
  }
}

/** All tests of a file that mutants are held against, at once. */
async function whyNotGreen(tests: string): Promise<string | undefined> {
  const names = mutants.filter((mutant) => mutant.tests === tests).map(({ named }) => named);
  const { exitCode, output } = await runTests(tests, [...new Set(names)]);
  if (exitCode !== 0) return `red before anything is broken: ${output.slice(-500)}`;
  return counted(output, "pass") > 0 ? undefined : "no test has such a name";
}

/** From the closing lines of Node's test runner. */
function counted(output: string, what: "pass" | "fail"): number {
  return Number(new RegExp(`^\\S* ?${what} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
}

async function copyProject(): Promise<void> {
  const source = projectPath("");
  const left = new Set(["node_modules", ".git", ".darkroom"].map((name) => path.join(source, name)));
  await cp(source, copy, { recursive: true, filter: (file) => !left.has(path.resolve(file)) });
  await symlink(path.join(source, "node_modules"), path.join(copy, "node_modules"), "junction");
}

/** What follows from the schemas, as it is when nothing is broken. */
async function generatedFiles(): Promise<Map<string, string>> {
  const folder = path.join(copy, "supabase/migrations");
  const migrations = (await readdir(folder)).filter((file) => file.endsWith(".sql"));
  const files = [
    ...migrations.map((file) => path.join(folder, file)),
    path.join(copy, "server/schema/manifest.json"),
  ];
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file, "utf8")] as const)));
}

/** A host serves no database that differs from its manifest: that would be a red test whatever is broken. */
async function needsManifest(tests: string): Promise<boolean> {
  const files = await readdir(path.join(copy, "test"), { recursive: true });
  const chosen = files.filter((file) => file.endsWith(".test.ts") && `test/${file}`.includes(tests));
  const texts = await Promise.all(chosen.map((file) => readFile(path.join(copy, "test", file), "utf8")));
  return texts.some((text) => text.includes("support/hosts.ts"));
}

async function generateFrom(withManifest: boolean): Promise<void> {
  for (const what of withManifest ? ["migration", "manifest"] : ["migration"]) {
    const { exitCode, output } = await runNode("scripts/generate.ts", what);
    if (exitCode !== 0) throw new Error(output.slice(-500));
  }
}

function runTests(tests: string, names: readonly string[]): Promise<Run> {
  return runNode("scripts/test.ts", tests, ...names.map((named) => `--test-name-pattern=${named}`));
}

/**
 * In a process group of its own, so that what hangs ends with all that it started. A test that a broken line has made hang
 * leaves processes that hold its output open: they are ended when the run itself is over.
 */
function runNode(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ["--import", "tsx", ...args], { cwd: copy, detached: true });
  const endGroup = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch (error) {
      // All of the group have ended.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const interrupt = () => endGroup("SIGINT");
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  const limit = setTimeout(() => endGroup("SIGKILL"), longestRunMilliseconds);
  let leftOver: NodeJS.Timeout | undefined;
  return new Promise<Run>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      leftOver = setTimeout(() => {
        endGroup("SIGKILL");
        child.stdout.destroy();
        child.stderr.destroy();
      }, leftOverMilliseconds);
      child.once("close", () => resolve({ exitCode: code ?? 1, output }));
    });
  }).finally(() => {
    clearTimeout(limit);
    clearTimeout(leftOver);
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  });
}
