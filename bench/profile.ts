/** Where the host's and PostgreSQL's time goes. */
import { mkdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import { printTable } from "./support.ts";

/** Options of Node that make a process leave its CPU profile in a folder when it ends. */
export function prepareProfile(folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  return ["--cpu-prof", `--cpu-prof-dir=${folder}`];
}

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** The functions that took most time themselves: of the ended process, and of PostgreSQL (`track_functions`). */
export async function showProfile(folder: string, sql: Sql): Promise<void> {
  // Threads that load modules leave profiles too; the host's own is the one with the largest tree.
  const files = (await readdir(folder)).filter((file) => file.endsWith(".cpuprofile"));
  const profiles = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(path.join(folder, file), "utf8")) as CpuProfile),
  );
  const [longest] = profiles.sort((a, b) => b.nodes.length - a.nodes.length);
  if (!longest) throw new Error("the host left no profile");
  console.log("\n### Host: functions by their own time, start of the process included");
  printTable(selfTimes(longest).slice(0, 25));
  console.log("### PostgreSQL: functions by their own time, their statements included, warm-up not");
  const functions = await sql<{ name: string; calls: string; total: string; self: string }[]>`
    select schemaname || '.' || funcname as name, calls::text, round(total_time)::text as total,
           round(self_time)::text as self
      from pg_stat_user_functions order by self_time desc limit 25`;
  printTable(
    functions.map(({ name, calls, total, self }) => ({
      function: name,
      calls,
      "total ms": total,
      "own ms": self,
    })),
  );
}

function selfTimes({
  nodes,
  samples,
  timeDeltas,
}: CpuProfile): { function: string; ms: string; share: string }[] {
  const names = new Map(nodes.map((node) => [node.id, nameOf(node.callFrame)]));
  const times = new Map<string, number>();
  for (const [index, sample] of samples.entries()) {
    const name = names.get(sample) ?? "?";
    times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0) / 1000);
  }
  times.delete("(idle)");
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .map(([name, time]) => ({
      function: name,
      ms: time.toFixed(0),
      share: `${((time / busy) * 100).toFixed(1)} %`,
    }));
}

function nameOf({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = functionName || "(anonymous)";
  if (!url) return name;
  const place = url.replace(/^file:\/\//, "").replace(/^.*\/node_modules\//, "");
  return `${name} ${place.startsWith("/") ? path.relative(process.cwd(), place) : place}:${lineNumber + 1}`;
}
