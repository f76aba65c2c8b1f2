/**
 * Breaks one line of a copy of the project at a time and runs the test that must turn red: `npm run mutants` all of
 * them, `npm run mutants -- holds` those of test/mutants/holds.ts, `npm run mutants -- check:5` those of a check.
 * Exits with 1 when a mutant survives, or when a test is red, or does not run, before anything is broken.
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

const words = process.argv.slice(2);
const mutants = await chosenMutants();
if (mutants.length === 0) {
  console.error(`No mutant is of ${words.join(" or ")}.`);
  process.exit(1);
}

const copy = await mkdtemp(path.join(tmpdir(), "darkroom-mutants-"));
/** What every test says before anything is broken, by its file and pattern. */
const unbroken = new Map<string, Promise<string | undefined>>();
const failures: string[] = [];
try {
  await copyProject();
  for (const mutant of mutants) {
    const failure = await failureOf(mutant);
    if (failure) failures.push(failure);
    console.log(
      `${failure ? "NOT KILLED" : "killed"}  check ${mutant.check}: ${mutant.breaks}${failure ? ` (${failure})` : ""}`,
    );
  }
} finally {
  await rm(copy, { recursive: true, force: true });
}
console.log(`${mutants.length - failures.length} of ${mutants.length} mutants killed`);
if (failures.length > 0) process.exit(1);

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
  const before = `${tests} ${named}`;
  if (!unbroken.has(before)) unbroken.set(before, whyNotGreen(tests, named));
  const notGreen = await unbroken.get(before);
  if (notGreen) return notGreen;

  const target = path.join(copy, file);
  const text = await readFile(target, "utf8");
  if (text.split(line).length !== 2) return `its line is not in ${file} once`;
  await writeFile(
    target,
    text.replace(line, () => broken),
  );
  try {
    await generateMigration();
    const { exitCode, output } = await runTests(tests, named);
    if (exitCode === 0) return "survived: the test is green";
    // A test must have said so, not a project that does not start.
    return counted(output, "fail") > 0 ? undefined : `no test ran: ${output.slice(-500)}`;
  } finally {
    await writeFile(target, text);
    await generateMigration();
  }
}

async function whyNotGreen(tests: string, named: string): Promise<string | undefined> {
  const { exitCode, output } = await runTests(tests, named);
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

async function generateMigration(): Promise<void> {
  const { exitCode, output } = await runNode("scripts/generate.ts", "migration");
  if (exitCode !== 0) throw new Error(output);
}

function runTests(tests: string, named: string): Promise<Run> {
  return runNode("scripts/test.ts", tests, `--test-name-pattern=${named}`);
}

function runNode(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ["--import", "tsx", ...args], { cwd: copy });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ exitCode: code ?? 1, output }));
  });
}
