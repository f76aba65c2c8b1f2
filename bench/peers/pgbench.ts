import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { type Bench, type BenchUser, userNumber } from "../support.ts";
import type { Contender } from "./contender.ts";
import { outputPath, storeOutputs } from "./darkroom.ts";

const execute = promisify(execFile);

/** The same three functions, called by PostgreSQL's own load generator; undefined where it is not installed. */
export async function findPgbench(bench: Bench, users: BenchUser[]): Promise<Contender | undefined> {
  const found = await execute("pgbench", ["--version"]).then(
    () => true,
    () => false,
  );
  if (!found) return undefined;
  const { hostname, port, username, password, pathname } = new URL(bench.url);
  const environment = {
    ...process.env,
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: username,
    PGPASSWORD: password,
    PGDATABASE: pathname.slice(1),
    PGOPTIONS: "-c role=service_role",
  };
  let round = 0;
  return {
    name: "Darkroom, SQL by pgbench",
    async prepare(tasks, concurrency) {
      round++;
      const each = Math.ceil(tasks / concurrency);
      const paths: string[] = [];
      for (let client = 0; client < concurrency; client++) {
        for (let number = 1; number <= each; number++) {
          const user = (client * 7919 + number) % users.length;
          paths.push(outputPath(userNumber(user).userId, taskId(round, client, number)));
        }
      }
      await storeOutputs(bench.sql, paths);
    },
    async run(tasks, concurrency, watch) {
      const script = path.join(bench.folder, "lifecycle.sql");
      await writeFile(script, scriptOf(round, users.length));
      const { stdout, stderr } = await execute(
        "pgbench",
        [
          [
            "--no-vacuum",
            "--protocol=prepared",
            "--report-per-command",
            "--max-tries=4",
            "--define=number=0",
          ],
          [`--client=${concurrency}`, "--jobs=2", `--transactions=${Math.ceil(tasks / concurrency)}`],
          [`--file=${script}`],
        ].flat(),
        { env: environment },
      );
      const failed = /number of failed transactions: (\d+)/.exec(stdout)?.[1];
      if (failed !== "0" || /aborted/.test(stderr)) throw new Error(`pgbench: ${stdout}\n${stderr}`);
      const perSecond = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
      // It tells means, not percentiles.
      for (const name of ["create", "claim", "complete"]) {
        const mean = new RegExp(`^\\s+([\\d.]+)\\s.*\\b${name}(?:_next)?_task\\(`, "m").exec(stdout)?.[1];
        if (mean !== undefined) watch.add(`mean ${name}`, Number(mean));
      }
      return tasks / perSecond;
    },
    close: () => Promise.resolve(),
  };
}

/** As the script makes it. */
function taskId(round: number, client: number, number: number): string {
  const digits = createHash("md5").update(`${round}:${client}:${number}`).digest("hex");
  return digits.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function scriptOf(round: number, users: number): string {
  const digits = "lpad(to_hex(:user::int), 12, '0')";
  return String.raw`
\set number :number + 1
\set user (:client_id * 7919 + :number) % ${users}
select create_task(null, jsonb_build_array(jsonb_build_object('task_id', md5('${round}:' || :client_id::int || ':' || :number::int)::uuid, 'task_type', 'z_image_turbo', 'project_id', '00000000-0000-4000-9000-' || ${digits}, 'params', jsonb_build_object('prompt', 'a fox', 'owner', '00000000-0000-4000-8000-' || ${digits}))), false);
\set found 0
with next as (select claim_next_task(for_worker => 'bench-' || :client_id::int) as claimed) select (claimed is not null)::int as found, claimed ->> 'task_id' as task, claimed ->> 'attempt' as attempt, claimed -> 'params' ->> 'owner' as owner from next \gset
\if :found
select complete_task(null, :task::uuid, path, 'https://media.example/' || path, for_worker => 'bench-' || :client_id::int, for_attempt => :attempt::int, checked_files => jsonb_build_object(path, '{"state": "sound", "medium": "image"}'::jsonb)) from concat(:owner::text, '/tasks/', :task::text, '/1-output.png') as path;
\endif
`;
}
