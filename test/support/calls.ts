import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createClient, FunctionsHttpError, type SupabaseClient } from "@supabase/supabase-js";
import ws from "ws";
import type { HostUnderTest } from "./hosts.ts";
import { film } from "./film.ts";
import { png } from "./png.ts";

/** Headers that say who calls. */
export type Credentials = Record<string, string>;

export interface Answer<Body = Record<string, unknown>> {
  status: number;
  headers: Headers;
  /** Empty where the answer has no body. */
  body: Body;
  text: string;
}

/** Somebody with an account, in a browser. */
export interface Person {
  client: SupabaseClient;
  userId: string;
  email: string;
  jwt: string;
  credentials: Credentials;
}

export function bearer(token: string): Credentials {
  return { authorization: `Bearer ${token}` };
}

/** The cloud's workers and operators: the legacy service key as bearer, as the shipped worker sends it. */
export function service({ keys }: HostUnderTest): Credentials {
  return bearer(keys.serviceRoleKey);
}

/** A new user with a signed-in client, made as a browser does it. */
export async function signUp({ apiUrl, keys, atEnd }: HostUnderTest): Promise<Person> {
  const client = createClient(apiUrl, keys.publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    realtime: { transport: ws as never },
  });
  // An open socket would keep a test that failed half-way from ending. (A client that had one holds its
  // process for ten seconds more by a timer that nobody can reach; the others need not.)
  atEnd(async () => {
    if (client.realtime.isConnected()) await client.realtime.disconnect();
  });
  // A domain of their own: the welcome bonus goes to a few people of each.
  const email = `ada@${randomUUID()}.example`;
  const { data, error } = await client.auth.signUp({ email, password: "a rather long password" });
  if (error) throw error;
  assert.ok(data.session && data.user);
  const jwt = data.session.access_token;
  return { client, userId: data.user.id, email, jwt, credentials: bearer(jwt) };
}

/** One call to a function, as a program makes it. */
export async function post<Body = Record<string, unknown>>(
  { apiUrl }: HostUnderTest,
  name: string,
  body: unknown,
  credentials: Credentials,
): Promise<Answer<Body>> {
  const response = await fetch(`${apiUrl}/functions/v1/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...credentials },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return await answerOf<Body>(response);
}

/** The same as a browser makes it: by the client's own `functions.invoke`. */
export async function invoke<Body = Record<string, unknown>>(
  { client }: Person,
  name: string,
  body: Record<string, unknown>,
): Promise<Answer<Body>> {
  const { data, error, response } = await client.functions.invoke<Body>(name, { body });
  if (error instanceof FunctionsHttpError) return await answerOf<Body>(error.context as Response);
  if (error) throw error;
  assert.ok(response);
  return {
    status: response.status,
    headers: response.headers,
    body: data as Body,
    text: JSON.stringify(data),
  };
}

/** An answer that must be 200; what it says when it is not is in the failure. */
export async function succeed<Body>(call: Promise<Answer<Body>>): Promise<Body> {
  const answer = await call;
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

/** An answer that must be a refusal with this status and code. */
export async function refused(call: Promise<Answer>, status: number, code: string): Promise<Answer> {
  const answer = await call;
  assert.deepEqual({ status: answer.status, code: answer.body["error"] }, { status, code }, answer.text);
  return answer;
}

export async function createProject({ client, userId }: Person, name = "test"): Promise<string> {
  const { data, error } = await client
    .from("projects")
    .insert({ user_id: userId, name })
    .select("id")
    .single();
  if (error) throw error;
  return (data as { id: string }).id;
}

/** A person with a project, which is what most suites begin with. */
export async function personWithProject(host: HostUnderTest): Promise<Person & { projectId: string }> {
  const person = await signUp(host);
  return { ...person, projectId: await createProject(person) };
}

export interface CreatedTask {
  task_id: string;
  status: string;
  task_type: string;
  project_id: string;
  held_microusd: number;
  upper_bound_microusd: number;
  deduplicated: boolean;
}

export interface TaskRequest {
  taskType?: string;
  params?: Record<string, unknown>;
  [field: string]: unknown;
}

/** A queued task of somebody; fields beside type and params go into the body as they are. */
export async function queueTask(
  host: HostUnderTest,
  { credentials, projectId }: { credentials: Credentials; projectId: string },
  { taskType = "z_image_turbo", params = { prompt: "a fox" }, ...fields }: TaskRequest = {},
): Promise<CreatedTask> {
  const body = { task_type: taskType, params, project_id: projectId, ...fields };
  return await succeed(post<CreatedTask>(host, "create-task", body, credentials));
}

export interface ClaimedTask {
  task_id: string;
  params: Record<string, unknown>;
  billed: Record<string, unknown>;
  task_type: string;
  project_id: string;
  attempt: number;
  attempts: number;
  lease_expires_at: string;
}

/** What a claim gives; undefined when it is 204. */
export async function claim(
  host: HostUnderTest,
  credentials: Credentials,
  body: Record<string, unknown> = { worker_id: "worker-1" },
): Promise<ClaimedTask | undefined> {
  const answer = await post<ClaimedTask>(host, "claim-next-task", body, credentials);
  if (answer.status === 204) return undefined;
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

/** Claims until this task comes: what other tests left behind is taken out of the way. */
export async function claimTask(
  host: HostUnderTest,
  credentials: Credentials,
  taskId: string,
  body: Record<string, unknown> = { worker_id: "worker-1" },
): Promise<ClaimedTask> {
  for (;;) {
    const claimed = await claim(host, credentials, body);
    assert.ok(claimed, `${taskId} cannot be claimed`);
    if (claimed.task_id === taskId) return claimed;
  }
}

/** A task made, claimed by the cloud's worker and completed. */
export async function finishTask(
  host: HostUnderTest,
  owner: { credentials: Credentials; projectId: string },
  request?: TaskRequest,
): Promise<Completion> {
  const { task_id } = await queueTask(host, owner, request);
  // Named, because a claim that names no types leaves some to FAL where FAL is active.
  const types = request?.taskType === undefined ? {} : { task_types: [request.taskType] };
  const { attempt } = await claimTask(host, service(host), task_id, { worker_id: "worker-1", ...types });
  return await complete(host, service(host), task_id, { worker_id: "worker-1", attempt });
}

export interface TaskState {
  status: string;
  attempt: number;
  attempts: number;
  worker_id: string | null;
  error_message: string | null;
  generation_id: string | null;
}

export async function stateOf(host: HostUnderTest, taskId: string): Promise<TaskState> {
  return await succeed(post<TaskState>(host, "get-task-status", { task_id: taskId }, service(host)));
}

/** A personal access token of this person, as their worker gets it. */
export async function tokenOf(person: Person, body: Record<string, unknown> = {}): Promise<PersonalToken> {
  const made = await succeed(invoke<{ id: string; token: string }>(person, "generate-pat", body));
  return { id: made.id, token: made.token, credentials: bearer(made.token) };
}

export interface PersonalToken {
  id: string;
  token: string;
  credentials: Credentials;
}

export interface Completion {
  success: true;
  task_id: string;
  message: string;
  public_url: string;
  thumbnail_url: string | null;
  attempt: number;
  generation_id: string | null;
  variant_id: string | null;
  cost_microusd: number;
  warnings: { field: string; message: string }[];
}

/** Ends a run with a small picture or film, as its type makes, sent in the body. */
export async function complete(
  host: HostUnderTest,
  credentials: Credentials,
  taskId: string,
  fields: Record<string, unknown> = {},
): Promise<Completion> {
  const [row] = await host.sql<{ makes: string | null }[]>`
    select (output_media(task_type))[1] as makes from tasks where id = ${taskId}`;
  const made =
    row?.makes === "video"
      ? { filename: "output.mp4", file_data: base64(film()) }
      : { filename: "output.png", file_data: base64(png()) };
  const body = { task_id: taskId, ...made, ...fields };
  return await succeed(post<Completion>(host, "complete_task", body, credentials));
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** Balance and held, in micro-dollars, and the ledger in its order. */
export async function booksOf({ sql }: HostUnderTest, userId: string) {
  const [account] = await sql<{ balance: number; held: number }[]>`
    select balance_microusd::float8 as balance, held_microusd::float8 as held
      from credit_accounts where user_id = ${userId}`;
  const ledger = await sql<{ type: string; amount: number; task_id: string | null }[]>`
    select type::text, amount_microusd::float8 as amount, task_id
      from credits_ledger where user_id = ${userId} order by sequence`;
  assert.ok(account);
  assert.equal(
    ledger.reduce((sum, entry) => sum + entry.amount, 0),
    account.balance,
    "the ledger adds up to the balance",
  );
  return { ...account, ledger: ledger.map((entry) => ({ ...entry })) };
}

async function answerOf<Body>(response: Response): Promise<Answer<Body>> {
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("application/json") ?? false;
  return {
    status: response.status,
    headers: response.headers,
    body: (text !== "" && isJson ? JSON.parse(text) : {}) as Body,
    text,
  };
}
