import assert from "node:assert/strict";
import { createProject, invoke, type Person, signUp, succeed } from "./calls.ts";
import type { HostUnderTest } from "./hosts.ts";

export type Row = Record<string, unknown>;

export interface Studio extends Person {
  projectId: string;
  /** What the browser was told live. */
  events: { event: string; payload: Row }[];
}

export interface Generation extends Row {
  id: string;
  source_task_id: string | null;
  parent_generation_id: string | null;
  child_order: number | null;
  location: string | null;
  primary_variant_id: string | null;
}

/** A signed-in browser with a project that listens to what it is told. */
export async function openStudio(host: HostUnderTest): Promise<Studio> {
  // Others' tasks would be claimed along with one's own.
  await host.sql`select end_task(id, 'Cancelled', 'another test') from tasks where status in ('Queued', 'In Progress')`;
  const person = await signUp(host);
  const projectId = await createProject(person);
  const events: Studio["events"] = [];
  await person.client.realtime.setAuth(person.jwt);
  await Promise.all(
    [
      [`task-updates:${projectId}`, "task-update"],
      [`generations:${projectId}`, "generation"],
      [`credits:${person.userId}`, "balance"],
    ].map(
      ([topic = "", event = ""]) =>
        new Promise<void>((resolve, reject) => {
          person.client
            .channel(topic, { config: { private: true } })
            .on("broadcast", { event }, ({ payload }) => void events.push({ event, payload: payload as Row }))
            .subscribe((status, error) => {
              if (status === "SUBSCRIBED") resolve();
              else if (status === "CHANNEL_ERROR" || status === "TIMED_OUT")
                reject(error ?? new Error(status));
            });
        }),
    ),
  );
  return { ...person, projectId, events };
}

export async function create(studio: Studio, task_type: string, params: Row): Promise<string> {
  const request = { task_type, params, project_id: studio.projectId };
  return (await succeed(invoke<{ task_id: string }>(studio, "create-task", request))).task_id;
}

export async function newShot({ client, projectId }: Studio): Promise<string> {
  const { data, error } = await client
    .from("shots")
    .insert({ project_id: projectId, name: "Shot" })
    .select("id")
    .single();
  assert.equal(error, null);
  return (data as { id: string }).id;
}

export async function taskOf({ client }: Studio, id: string): Promise<Row> {
  const { data, error } = await client.from("tasks").select().eq("id", id).single();
  assert.equal(error, null);
  return data as Row;
}

export async function assertComplete(studio: Studio, id: string): Promise<Row> {
  const task = await taskOf(studio, id);
  assert.equal(task["status"], "Complete", String(task["error_message"] ?? ""));
  return task;
}

export async function statusesOf({ client }: Studio): Promise<Record<string, number>> {
  const { data } = await client.from("tasks").select("status");
  const counts: Record<string, number> = {};
  for (const { status } of data as { status: string }[]) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

export async function generationsOf({ client }: Studio): Promise<Generation[]> {
  const { data, error } = await client
    .from("generations")
    .select()
    .order("child_order", { ascending: true, nullsFirst: true });
  assert.equal(error, null);
  return data as Generation[];
}

/** An orchestration's one parent and its children; nothing else is in the gallery. */
export async function family(
  studio: Studio,
  orchestrator: string,
): Promise<{ parent: Generation; children: Generation[] }> {
  const [parent, ...children] = await generationsOf(studio);
  assert.ok(parent);
  assert.equal(parent.source_task_id, orchestrator);
  for (const child of children) {
    assert.equal(child.parent_generation_id, parent.id, "no orphan");
    assert.ok(child.location && child.primary_variant_id);
  }
  return { parent, children };
}

export async function typeOfPrimary(
  { client }: Studio,
  { primary_variant_id }: Generation,
): Promise<unknown> {
  const { data } = await client
    .from("generation_variants")
    .select("variant_type")
    .eq("id", primary_variant_id ?? "")
    .single();
  return (data as Row | null)?.["variant_type"];
}

export async function spends({ sql }: HostUnderTest, { userId }: Studio): Promise<{ rows: Row[] }> {
  const rows = await sql`
    select task_id, -amount_microusd::int as amount from credits_ledger where user_id = ${userId} and type = 'spend'`;
  return { rows: rows.map((row) => ({ ...row })) };
}

/** One charge, on the orchestrator: the sum of so many finished children at their own prices. */
export async function assertSettled(
  host: HostUnderTest,
  studio: Studio,
  orchestrator: string,
  finished: number,
): Promise<void> {
  const children = await host.sql<{ cost: number }[]>`
    with recursive part (id) as (
      select id from tasks where orchestrator_task_id = ${orchestrator}
      union all select task.id from tasks as task join part on task.orchestrator_task_id = part.id)
    select cost_microusd::int as cost from tasks join part using (id) where status = 'Complete' and not is_orchestrator`;
  assert.equal(children.length, finished);
  assert.ok(children.every(({ cost }) => cost > 0));
  const { rows } = await spends(host, studio);
  const total = children.reduce((sum, { cost }) => sum + cost, 0);
  assert.deepEqual(rows, [{ task_id: orchestrator, amount: total }]);
  await assertNothingOpen(host, studio);
}

export async function assertNothingOpen({ sql }: HostUnderTest, { userId }: Studio): Promise<void> {
  const [open] = await sql`
    select (select held_microusd::int from credit_accounts where user_id = ${userId}) as held,
           (select count(*)::int from credit_holds where user_id = ${userId} and state = 'held') as holds,
           (select count(*)::int from task_slots where user_id = ${userId} and task_id is not null) as slots,
           (select count(*)::int from tasks where user_id = ${userId} and status in ('Queued', 'In Progress')) as tasks`;
  assert.deepEqual({ ...open }, { held: 0, holds: 0, slots: 0, tasks: 0 });
}
