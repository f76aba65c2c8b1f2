/**
 * The drivers pg and postgres.js, each in processes of its own on Node and on Deno: named statements with a parameter
 * of 3 kB, 64 at once on 12 connections; then transactions whose connections the server ends. The figures of
 * decision 14.
 *
 * `npm run bench -- driver [--quick] [--statements 50000] [--terminations 400] [--rounds 3]`
 */
import { execFile } from "node:child_process";
import { parseArgs, promisify } from "node:util";
import { projectPath } from "../server/migrate.ts";
import { denoBinary } from "../test/support/hosts.ts";
import { onPostgres, printTable } from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    statements: { type: "string" },
    terminations: { type: "string", default: "400" },
    rounds: { type: "string" },
  },
});
const statements = values.statements ?? (values.quick ? "5000" : "50000");
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));

interface Figures {
  per_second: number;
  failed: number;
  answered: number;
}

const run = promisify(execFile);
const script = projectPath("bench/driver/load.ts");
const deno = [
  await denoBinary(),
  "run",
  "--allow-all",
  "--no-check",
  "--no-lock",
  "--node-modules-dir=manual",
  script,
];
const runtimes = { Node: [process.execPath, "--import", "tsx", script], Deno: deno };

await onPostgres({}, async ({ url }) => {
  const rows: Record<string, string>[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const [runtime, command] of Object.entries(runtimes)) {
      for (const driver of ["pg", "postgres"]) rows.push(await measure(runtime, command, driver, url));
    }
  }
  printTable(rows);
});

async function measure(
  runtime: string,
  [program = "", ...options]: string[],
  driver: string,
  url: string,
): Promise<Record<string, string>> {
  const load = await ending(program, [...options, driver, url, statements, "0"]);
  const ended = await ending(program, [...options, driver, url, "100", values.terminations]);
  return {
    runtime,
    driver,
    "statements/s": load.figures ? String(load.figures.per_second) : `process ended: ${load.why}`,
    "connections ended": values.terminations,
    "later calls answered": ended.figures ? `${ended.figures.answered} of 40` : `process ended: ${ended.why}`,
  };
}

async function ending(program: string, options: string[]): Promise<{ figures?: Figures; why: string }> {
  try {
    const { stdout } = await run(program, options, {
      cwd: projectPath("bench"),
      timeout: 180_000,
      killSignal: "SIGKILL",
    });
    return { figures: JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Figures, why: "" };
  } catch (error) {
    const text = String((error as { stderr?: string }).stderr ?? error);
    return { why: /(\w*Error: [^\n]*)/.exec(text)?.[1]?.slice(0, 80) ?? "killed after 180 s" };
  }
}
