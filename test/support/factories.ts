import { randomUUID } from "node:crypto";
import { json, type Sql, type SqlValue } from "../../supabase/functions/_shared/database/sql.ts";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import type { Session } from "./database.ts";

type Connection = Sql | Session;

/** One query on a pool or on a session. */
async function run<Row>(
  connection: Connection,
  text: string,
  params: readonly SqlValue[] = [],
): Promise<Row[]> {
  if (typeof connection === "function") {
    return [...(await connection.query(text, params))] as unknown as Row[];
  }
  return (await connection.query(text, params)).rows as Row[];
}

export interface TestUser {
  userId: string;
  projectId: string;
}

/** A person with a project and exactly these credits, in micro-dollars. Anonymous, so without a welcome bonus. */
export async function createUser(connection: Connection, balanceMicrousd = 100_000_000): Promise<TestUser> {
  const userId = randomUUID();
  const email = `${userId}@example.com`;
  await run(connection, "insert into auth.users (id, email, is_anonymous) values ($1, $2, true)", [
    userId,
    email,
  ]);
  if (balanceMicrousd > 0) {
    await run(connection, "select add_credit($1, 'manual', $2)", [userId, balanceMicrousd]);
  }
  const [project] = await run<{ id: string }>(
    connection,
    "insert into projects (user_id, name) values ($1, 'test') returning id",
    [userId],
  );
  return { userId, projectId: project?.id ?? "" };
}

export interface TaskOptions {
  taskType?: string;
  params?: Record<string, unknown>;
  taskId?: string;
  dependantOn?: string[];
  priority?: number;
  runAfter?: Date;
}

/** A queued task, made as `create-task` makes it. @returns its id */
export async function queueTask(
  connection: Connection,
  { projectId }: TestUser,
  {
    taskType = "z_image_turbo",
    params = { prompt: "a fox" },
    taskId,
    dependantOn,
    priority,
    runAfter,
  }: TaskOptions = {},
): Promise<string> {
  const request = {
    task_type: taskType,
    params,
    project_id: projectId,
    ...(taskId && { task_id: taskId }),
    ...(dependantOn && { dependant_on: dependantOn }),
    ...(priority && { priority }),
    ...(runAfter && { run_after: runAfter.toISOString() }),
  };
  const [row] = await run<{ created: { task_id: string } }>(
    connection,
    "select create_task(null, $1::jsonb, false) as created",
    [json([request])],
  );
  return row?.created.task_id ?? "";
}

/** Ends everything that waits or runs, and forgets workers and run times: a suite's cases share a database. */
export async function emptyQueue(connection: Connection): Promise<void> {
  await run(
    connection,
    "select end_task(id, 'Cancelled', 'another case') from tasks where status in ('Queued', 'In Progress')",
  );
  await run(connection, "delete from workers");
  await run(connection, "delete from task_run_times");
}

/** No timer has tended the queue for a while, so the next claim does. */
export async function stopTending(connection: Connection): Promise<void> {
  await run(connection, "update queue_settings set tended_at = '-infinity'");
}

export interface Claimed {
  task_id: string;
  params: Record<string, unknown>;
  attempt: number;
  attempts: number;
}

/** What `claim-next-task` gives the service's worker, or an owner's. */
export async function claim(
  connection: Connection,
  worker: string,
  forUser?: string,
): Promise<Claimed | null> {
  const [row] = await run<{ claimed: Claimed | null }>(
    connection,
    "select claim_next_task(for_user => $1, for_worker => $2) as claimed",
    [forUser ?? null, worker],
  );
  return row?.claimed ?? null;
}

export interface CompleteOptions {
  worker?: string;
  attempt?: number;
  forUser?: string;
}

/** Completes a task with a file that is put into storage's table first, as an upload would. */
export async function complete(
  connection: Connection,
  taskId: string,
  { worker, attempt, forUser }: CompleteOptions = {},
): Promise<Record<string, unknown>> {
  const [owner] = await run<{ user_id: string }>(connection, "select user_id from tasks where id = $1", [
    taskId,
  ]);
  const path = `${owner?.user_id}/tasks/${taskId}/1-output.png`;
  // Without triggers, which would refuse a finished task's file, and lock the task in another order than a worker does.
  await run(
    connection,
    `with quiet as materialized (select set_config('session_replication_role', 'replica', true) as role)
     insert into storage.objects (bucket_id, name) select 'image_uploads', $1 from quiet where role is not null
     on conflict do nothing`,
    [path],
  );
  await run(connection, "select set_config('session_replication_role', 'origin', true)");
  const [row] = await run<{ completed: Record<string, unknown> }>(
    connection,
    `select complete_task(for_user => $1, for_task => $2, output_path => $3, output_location => $4,
                          for_worker => $5, for_attempt => $6, checked_files => jsonb_build_object($3::text,
                            jsonb_build_object('state', 'sound', 'medium', (
                              select (output_media(task_type))[1] from tasks where id = $2)))) as completed`,
    [forUser ?? null, taskId, path, `https://media.example/${path}`, worker ?? null, attempt ?? null],
  );
  return row?.completed ?? {};
}

/** What the check of these files found, as `complete_task()` takes it: complete images, unless said. */
export function checkedFiles(
  paths: readonly string[],
  medium: "image" | "video" = "image",
): Record<string, { state: string; medium: string }> {
  return Object.fromEntries(paths.map((path) => [path, { state: "sound", medium }]));
}

/** `update-task-status` as the service calls it. */
export async function setStatus(
  connection: Connection,
  taskId: string,
  status: string,
  {
    worker,
    attempt,
    changes = {},
  }: { worker?: string; attempt?: number; changes?: Record<string, unknown> } = {},
): Promise<Record<string, unknown>> {
  const [row] = await run<{ updated: Record<string, unknown> }>(
    connection,
    `select update_task_status(null, 'service', $1, $2::task_status, $3, $4, $5) as updated`,
    [taskId, status, worker ?? null, attempt ?? null, json(changes)],
  );
  return row?.updated ?? {};
}

export interface Account {
  balance: number;
  held: number;
}

export async function accountOf(connection: Connection, userId: string): Promise<Account> {
  const [row] = await run<{ balance: string; held: string }>(
    connection,
    "select balance_microusd as balance, held_microusd as held from credit_accounts where user_id = $1",
    [userId],
  );
  return { balance: Number(row?.balance), held: Number(row?.held) };
}

/** Accounts that disagree with their ledger or their open holds; none means the books are right. */
export async function wrongAccounts(connection: Connection): Promise<unknown[]> {
  return await run(
    connection,
    `select account.user_id, account.balance_microusd, account.held_microusd
       from credit_accounts as account
      where account.balance_microusd <> (select coalesce(sum(amount_microusd), 0) from credits_ledger
                                          where user_id = account.user_id)
         or account.held_microusd <> (select coalesce(sum(amount_microusd), 0) from credit_holds
                                       where user_id = account.user_id and state = 'held')`,
  );
}

/** The code with which a call was refused, or `none`. Anything but a refusal is thrown on. */
export async function refusedWith(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error) {
    const refused = refusal(error);
    if (refused instanceof AppError) return refused.code;
    throw error;
  }
}
