/** Holds what clients were promised against the database, the files and the ledger. */
import { type Check, type Diagnosis, examine } from "../../server/doctor.ts";
import { AnswerBook, ApiClient } from "./api-client.ts";
import type { Report } from "./campaign.ts";
import { type DatabaseSession, withSession } from "./database.ts";
import { grantedDollars, type Load } from "./load.ts";

/** Files that are downloaded again, of each kind: the newest, which the last faults met. */
const mostFiles = 400;

/** Adds to a report whether every acknowledged write is there, once. Call it when the hosts serve again. */
export async function checkPromises(load: Load, report: Report, unfinished: number): Promise<void> {
  const { databaseUrl } = load.options;
  const { log } = load;
  const found = await withSession(databaseUrl, async (session) => ({
    tasks: await checkTasks(load, session),
    rows: await checkRows(load, session),
    charges: await checkCharges(session),
  }));
  const files = await checkFiles(load);
  const sessions = await checkSessions(load);

  const lost = [...found.tasks.lost, ...found.rows, ...files, ...sessions];
  report.none(
    "Acknowledged writes that are lost",
    lost.length,
    `${lost.length} of ${log.acknowledgedWrites}${examples(lost)}`,
  );
  const doubled = [...found.tasks.doubled, ...found.charges.doubled];
  if (log.doubleClaims > 0) doubled.push(`${log.doubleClaims} runs that were given to two workers`);
  report.none("Writes that were made twice", doubled.length, `${doubled.length}${examples(doubled)}`);
  report.none(
    "Charges that do not belong to exactly one completed task",
    found.charges.wrong.length,
    `${found.charges.wrong.length} of ${found.charges.charges}${examples(found.charges.wrong)}`,
  );
  report.none("Holds of tasks that have ended, or past their lease", found.charges.holds);
  report.none("Tasks that cannot be finished afterwards", unfinished);
  report.none("Rows of another user in reads", log.foreignRows, `${log.foreignRows} in ${log.reads} reads`);
  report.none(
    "Downloads of acknowledged files that gave other bytes or none",
    log.wrongDownloads.length,
    `${log.wrongDownloads.length}${examples(log.wrongDownloads)}`,
  );
  for (const check of ["verify", "doctor"] as const) await checkDatabase(databaseUrl, check, report);
  report.table("Answers by service", ["service", "answers", "slowest"], load.answers.rows());
  if (load.answers.unexpected.size > 0) {
    report.table(
      "Answers of 500 and above other than 503 and 507",
      ["call", "times"],
      [...load.answers.unexpected],
    );
  }
}

/** Adds whether each call had an answer in time, and none failed for a reason that is not said. */
export function checkAnswers({ answers }: Load, report: Report): void {
  report.none("Calls without an answer within 35 s", answers.late, `${answers.late} of ${answers.calls}`);
  report.none("Answers of 500 and above other than 503 and 507", answers.unexpectedCount);
  report.none("Answers of 503 without Retry-After", answers.unavailableWithoutRetryAfter);
}

function examples(found: string[]): string {
  return found.length === 0 ? "" : `: ${found.slice(0, 3).join("; ")}`;
}

async function checkTasks({ log }: Load, session: DatabaseSession) {
  const rows = await session.query<{ id: string; ref: string | null; status: string }>(
    "select id, params ->> 'client_ref' as ref, status::text from all_tasks",
  );
  const [byId, byReference] = [new Map<string, string>(), new Map<string, string[]>()];
  for (const { id, ref, status } of rows) {
    byId.set(id, status);
    if (ref !== null) byReference.set(ref, [...(byReference.get(ref) ?? []), id]);
  }
  const [lost, doubled]: [string[], string[]] = [[], []];
  for (const [reference, { acknowledged }] of log.tasks) {
    const ids = byReference.get(reference) ?? [];
    if (ids.length > 1 || acknowledged.size > 1) doubled.push(`task ${reference}`);
    for (const id of acknowledged) if (!ids.includes(id)) lost.push(`task ${id}`);
  }
  for (const id of log.completions.keys()) {
    if (byId.get(id) !== "Complete") lost.push(`completion of ${id}, which is ${byId.get(id)}`);
  }
  for (const id of log.failures) {
    if (byId.get(id) !== "Failed") lost.push(`failure of ${id}, which is ${byId.get(id)}`);
  }
  const missing = await session.query<{ id: string }>(
    `select id from all_tasks where status = 'Complete' and params ? 'client_ref'
        and not exists (select from generations where source_task_id = all_tasks.id)`,
  );
  lost.push(...missing.map(({ id }) => `generation of ${id}`));
  return { lost, doubled };
}

async function checkRows({ log }: Load, session: DatabaseSession): Promise<string[]> {
  const rows = await session.query<{ id: string; name: string }>("select id, name from shots");
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  const lost: string[] = [];
  for (const [id, shot] of log.shots) {
    const name = names.get(id);
    if (shot.state === "gone" && name !== undefined) lost.push(`deletion of shot ${id}`);
    if (shot.state !== "there") continue;
    if (name === undefined) lost.push(`shot ${id}`);
    else if (!shot.names.has(name)) lost.push(`name of shot ${id}: "${name}"`);
  }
  const users = await session.query<{ id: string }>("select id from auth.users");
  const known = new Set(users.map(({ id }) => id));
  lost.push(...log.people.filter(({ userId }) => !known.has(userId)).map(({ userId }) => `user ${userId}`));
  return lost;
}

async function checkCharges(session: DatabaseSession) {
  const charges = await session.query<{ task_id: string; times: number; status: string | null }>(
    `select spend.task_id, spend.times, task.status::text
       from (select task_id, count(*)::int as times from credits_ledger where type = 'spend' group by 1) as spend
       left join all_tasks as task on task.id = spend.task_id`,
  );
  const uncharged = await session.query<{ id: string }>(
    `select id from all_tasks where status = 'Complete' and not claimed_by_owner
        and not exists (select from credits_ledger where task_id = all_tasks.id and type = 'spend')`,
  );
  const grants = await session.query<{ user_id: string; times: number }>(
    `select user_id, count(*)::int as times from credits_ledger
      where amount_microusd = $1 group by 1 having count(*) > 1`,
    [grantedDollars * 1_000_000],
  );
  const [held] = await session.query<{ count: number }>(
    `select count(*)::int as count
       from credit_holds as hold left join tasks as task on task.id = hold.task_id
      where hold.state = 'held'
        and (task.status is null or task.status not in ('Queued', 'In Progress')
             or task.status = 'In Progress' and task.lease_expires_at < now() - interval '60 seconds')`,
  );
  return {
    charges: charges.length,
    doubled: [
      ...charges.filter(({ times }) => times > 1).map(({ task_id }) => `charge of ${task_id}`),
      ...grants.map(({ user_id }) => `grant to ${user_id}`),
    ],
    wrong: [
      ...charges
        .filter(({ status }) => status !== "Complete")
        .map(({ task_id, status }) => `${task_id} is charged and ${status}`),
      ...uncharged.map(({ id }) => `${id} is complete and not charged`),
    ],
    holds: held?.count ?? 0,
  };
}

/** Files whose upload or completion was acknowledged, byte by byte. */
async function checkFiles({ log, options }: Load): Promise<string[]> {
  const client = new ApiClient(options.addresses, new AnswerBook());
  const expected: [string, Buffer][] = [
    ...[...log.uploads]
      .slice(-mostFiles)
      .map(([name, { bytes }]): [string, Buffer] => [
        `/storage/v1/object/public/image_uploads/${name}`,
        bytes,
      ]),
    ...[...log.completions.values()]
      .slice(-mostFiles)
      .map(({ url, bytes }): [string, Buffer] => [new URL(url).pathname, bytes]),
  ];
  const lost: string[] = [];
  for (const [path, bytes] of expected) {
    const answer = await client.call({ service: "storage", path, method: "GET" });
    if (answer.status !== 200 || !answer.bytes.equals(bytes)) lost.push(`file ${path} (${answer.status})`);
  }
  client.close();
  return lost;
}

/** Sessions whose last refresh token was acknowledged still refresh. */
async function checkSessions({ log, options }: Load): Promise<string[]> {
  const client = new ApiClient(options.addresses, new AnswerBook());
  const lost: string[] = [];
  for (const [userId, refreshToken] of log.sessions) {
    const answer = await client.call({
      service: "auth",
      path: "/auth/v1/token?grant_type=refresh_token",
      headers: { apikey: options.keys.PUBLISHABLE_KEY },
      body: { refresh_token: refreshToken },
    });
    if (answer.status !== 200) lost.push(`session of ${userId} (${answer.status})`);
  }
  client.close();
  return lost;
}

async function checkDatabase(url: string, check: Check, report: Report): Promise<void> {
  const found: Diagnosis = await examine(url, check);
  const faults = found.faults.map(({ room, rule, row_id }) => `${room}: ${rule} ${row_id}`);
  report.none(`Faults that \`${check}\` finds`, found.fault_count, `${found.fault_count}${examples(faults)}`);
}
