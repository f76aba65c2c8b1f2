import { randomUUID } from "node:crypto";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { connect, json } from "../../supabase/functions/_shared/database/database.ts";
import { png } from "../../test/support/png.ts";
import { type BenchUser, expectOk, FunctionClient, type HostProcess } from "../support.ts";
import { type Contender, spread } from "./contender.ts";

interface NewTask {
  task_id: string;
  task_type: string;
  project_id: string;
  params: { prompt: string; owner: string };
}

interface Claimed {
  task_id: string;
  params: { owner: string };
  attempt: number;
}

/** One way to call the three functions. */
interface Calls {
  /** Stores the picture that every run makes, where completions read it. */
  picture?(): Promise<string>;
  create(task: NewTask): Promise<void>;
  claim(worker: string): Promise<Claimed | undefined>;
  complete(worker: string, task: Claimed): Promise<void>;
}

/** Where a run's output lies. The owner is in the task's params: a claim does not tell whose task it is. */
export function outputPath(owner: string, taskId: string): string {
  return `${owner}/tasks/${taskId}/1-output.png`;
}

/** What the check of such an output finds, as complete_task() takes it. */
export function checkedOutput(path: string): Record<string, { state: string; medium: string }> {
  return { [path]: { state: "sound", medium: "image" } };
}

/** The functions over HTTP, on kept connections. */
export function overHttp(host: HostProcess, sql: Sql, users: BenchUser[]): Contender {
  const client = new FunctionClient(host.apiUrl, Number.POSITIVE_INFINITY);
  let calls = 0;
  // In turns, for each key may make 300,000 requests a minute, and this is more.
  const key = () => host.serviceKeys[calls++ % 2] ?? "";
  return darkroom("Darkroom, HTTP", sql, users, () => client.close(), {
    picture: () => storePicture(host),
    async create(task) {
      expectOk(await client.call("create-task", key(), task));
    },
    async claim(worker) {
      const answer = await client.call("claim-next-task", key(), { worker_id: worker });
      return answer.status === 204 ? undefined : (expectOk(answer) as unknown as Claimed);
    },
    async complete(worker, { task_id, attempt, params }) {
      const path = outputPath(params.owner, task_id);
      expectOk(
        await client.call("complete_task", key(), {
          task_id,
          worker_id: worker,
          attempt,
          storage_path: path,
        }),
      );
    },
  });
}

/** The same SQL functions by the host's own driver and as many connections: all but HTTP. */
export function overSql(url: string, sql: Sql, users: BenchUser[]): Contender {
  const database = connect({ url });
  return darkroom("Darkroom, SQL by its pool", sql, users, () => database.close(), {
    async create(task) {
      await database.call("create_task", { for_user: null, requests: json([task]), is_batch: false });
    },
    async claim(worker) {
      return (await database.call<Claimed | null>("claim_next_task", { for_worker: worker })) ?? undefined;
    },
    async complete(worker, { task_id, attempt, params }) {
      const path = outputPath(params.owner, task_id);
      await database.call("complete_task", {
        for_user: null,
        for_task: task_id,
        output_path: path,
        output_location: `https://media.example/${path}`,
        checked_files: json(checkedOutput(path)),
        for_worker: worker,
        for_attempt: attempt,
      });
    },
  });
}

function darkroom(name: string, sql: Sql, users: BenchUser[], close: () => unknown, calls: Calls): Contender {
  let ready: NewTask[] = [];
  return {
    name,
    async prepare(tasks) {
      ready = Array.from({ length: tasks }, (_, index) => {
        const { userId, projectId } = users[index % users.length] as BenchUser;
        const params = { prompt: "a fox", owner: userId };
        return { task_id: randomUUID(), task_type: "z_image_turbo", project_id: projectId, params };
      });
      await storeOutputs(
        sql,
        ready.map(({ task_id, params }) => outputPath(params.owner, task_id)),
        await calls.picture?.(),
      );
    },
    async run(tasks, concurrency, watch) {
      return await spread(tasks, concurrency, async (number) => {
        const worker = `bench-${number}`;
        const task = ready.pop();
        if (!task) throw new Error("more tasks than were prepared");
        await watch.time("create", () => calls.create(task));
        for (;;) {
          const begun = performance.now();
          const claimed = await calls.claim(worker);
          watch.add(claimed ? "claim" : "empty claim", performance.now() - begun);
          if (!claimed) continue;
          await watch.time("complete", () => calls.complete(worker, claimed));
          return;
        }
      });
    },
    close: async () => {
      await close();
    },
  };
}

/**
 * Outputs as uploads would leave them in the catalogue; uploading is not what is measured. Their content is that of `picture`, where
 * they are to be read.
 */
export async function storeOutputs(sql: Sql, paths: string[], picture?: string): Promise<void> {
  await sql`
    insert into storage.objects (bucket_id, name, version, metadata)
    select 'image_uploads', path, picture.version, picture.metadata
      from unnest(${paths}::text[]) as path
      left join storage.objects as picture on picture.bucket_id = 'image_uploads' and picture.name = ${picture ?? null}`;
}

/** Puts one picture into storage. @returns its name */
async function storePicture(host: HostProcess): Promise<string> {
  const name = `task_outputs/${randomUUID()}.png`;
  const response = await fetch(`${host.apiUrl}/storage/v1/object/image_uploads/${name}`, {
    method: "POST",
    headers: { authorization: `Bearer ${host.serviceKeys[0] ?? ""}`, "content-type": "image/png" },
    body: png() as BodyInit,
  });
  if (!response.ok) throw new Error(`storage answered ${response.status} to a picture`);
  await response.body?.cancel();
  return name;
}
