/** Clients that use a host as a studio and its workers do, and log what they were promised. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { png } from "../../test/support/png.ts";
import { type Answer, AnswerBook, ApiClient, bearer, type Call } from "./api-client.ts";
import { withSession } from "./database.ts";
import type { HostKeys } from "./host-process.ts";
import { Random } from "./random.ts";
import { type ShotRecord, type StudioIdentity, WriteLog } from "./write-log.ts";

export interface LoadOptions {
  /** Addresses of the hosts; a client whose call fails goes on with the next. */
  addresses: string[];
  keys: HostKeys;
  /** The database itself, not by way of a proxy. */
  databaseUrl: string;
  seed: number;
  clients?: number;
  /** How long a run outlives its worker. */
  leaseSeconds?: number;
  /** Calls a second that all clients together aim at; the machine may do fewer. */
  callsPerSecond?: number;
}

const taskTypes = ["z_image_turbo", "qwen_image"];
/** To each person once; no other entry of the ledger has this amount. */
export const grantedDollars = 9_999;
/** The worker's name of probes. */
export const probeWorker = "probe";
const mostWaitingTasks = 60;
/** A write whose answer was lost is sent again so often. */
const mostTries = 8;

/** Tells a caller as whom the statement runs, and for which request. */
const identityFunction = `
  create or replace function public.campaign_identity() returns jsonb language sql stable as $$
    select jsonb_build_object('role', current_user, 'user', auth.uid(),
                              'request', current_setting('request.headers')::jsonb ->> 'x-request-id')
  $$`;

export class Load {
  readonly answers = new AnswerBook();
  readonly log: WriteLog;
  readonly options: Required<LoadOptions>;
  readonly #random: Random;
  readonly #studios: StudioClient[] = [];
  readonly #workers: WorkerClient[] = [];
  #running: Promise<unknown>[] = [];
  #isStopping = false;
  /** Workers take tasks of every type, those of probes too. */
  isDraining = false;

  /** @param log that of an earlier load, where this one goes on with what it promised */
  constructor(options: LoadOptions, log = new WriteLog()) {
    this.log = log;
    this.options = { clients: 16, leaseSeconds: 8, callsPerSecond: 150, ...options };
    this.#random = new Random(this.options.seed);
  }

  /** Signs people up, gives them credit, and makes clients: half of them studios, half workers. */
  async prepare(): Promise<void> {
    const { databaseUrl, leaseSeconds, clients } = this.options;
    await withSession(databaseUrl, async (session) => {
      await session.query("update queue_settings set heartbeat_lease = make_interval(secs => $1)", [
        leaseSeconds,
      ]);
      await session.query(identityFunction);
      await session.query(
        "grant execute on function public.campaign_identity to anon, authenticated, service_role",
      );
      await session.query("notify pgrst, 'reload schema'");
    });
    for (let index = 0; index < clients; index++) {
      const client = this.client(2 + index);
      if (index % 2 === 0) this.#studios.push(await this.#newStudio(client, index));
      else this.#workers.push(await this.#newWorker(client, index));
    }
  }

  client(source: number): ApiClient {
    const client = new ApiClient(this.options.addresses, this.answers, source);
    client.use(source);
    return client;
  }

  newRandom(): Random {
    return new Random(this.#random.integer(1, 2 ** 31));
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** So that the machine is busy and not overrun: each client waits about so long between calls. */
  async rest(random: Random): Promise<void> {
    const mean = (1000 * this.options.clients) / this.options.callsPerSecond;
    await pause(random.between(0, 2 * mean));
  }

  /** Tasks that were created and whose completion no client knows of. */
  get waitingTasks(): number {
    return this.log.tasks.size - this.log.completions.size - this.log.failures.size;
  }

  start(): void {
    this.#isStopping = false;
    this.#running = [...this.#studios, ...this.#workers].map((client) => client.run());
  }

  /** Resolves when every client has had its last answer. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
    this.#running = [];
  }

  /** Lets workers finish what waits or runs, without new tasks. Answers what is left. */
  async drain(limitMilliseconds = 90_000): Promise<number> {
    this.#isStopping = false;
    this.isDraining = true;
    const working = this.#workers.map((worker) => worker.run());
    try {
      for (const deadline = Date.now() + limitMilliseconds; ; await pause(500)) {
        const [row] = await withSession(this.options.databaseUrl, (session) =>
          // A run of a probe that was given up ends with its lease of ten minutes.
          session.query<{ left: number }>(
            `select count(*)::int as left from tasks
              where status in ('Queued', 'In Progress') and worker_id is distinct from $1`,
            [probeWorker],
          ),
        );
        if (row?.left === 0 || Date.now() > deadline) return row?.left ?? 0;
      }
    } finally {
      this.#isStopping = true;
      this.isDraining = false;
      await Promise.all(working);
    }
  }

  async #newStudio(client: ApiClient, index: number): Promise<StudioClient> {
    const person = await signUpPerson(client, this.options.keys, `client-${index}`);
    this.log.people.push(person.identity);
    this.log.signedIn(person.identity.userId, {
      accessToken: person.jwt,
      refreshToken: person.refreshToken,
    });
    return new StudioClient(this, client, person, this.newRandom());
  }

  /** Its first heartbeat must be seen: runs of workers that have sent none have leases of ten minutes. */
  async #newWorker(client: ApiClient, index: number): Promise<WorkerClient> {
    const name = `worker-${index}`;
    await expect(client, 200, {
      service: "functions",
      path: "/functions/v1/worker-heartbeat",
      headers: bearer(this.options.keys.SERVICE_ROLE_KEY),
      body: { worker_id: name, status: "active", tasks: [] },
    });
    return new WorkerClient(this, client, name, this.newRandom());
  }

  close(): void {
    for (const { client } of [...this.#studios, ...this.#workers]) client.close();
  }
}

export interface SignedInPerson {
  identity: StudioIdentity;
  jwt: string;
  refreshToken: string;
}

/** A new person with a session, a project and credit for thousands of tasks. */
export async function signUpPerson(client: ApiClient, keys: HostKeys, name: string): Promise<SignedInPerson> {
  const email = `${name}@${randomUUID()}.example`;
  const password = "a rather long password";
  const signedUp = await expect(client, 200, {
    service: "auth",
    path: "/auth/v1/signup",
    headers: { apikey: keys.PUBLISHABLE_KEY },
    body: { email, password },
  });
  const session = signedUp.body as { access_token: string; refresh_token: string; user: { id: string } };
  const userId = session.user.id;
  await expect(client, 200, {
    service: "functions",
    path: "/functions/v1/grant-credits",
    headers: bearer(keys.SERVICE_ROLE_KEY),
    body: {
      userId,
      amount: grantedDollars,
      description: "fault campaign",
      idempotency_key: `campaign-${userId}`,
    },
  });
  const projectId = randomUUID();
  await expect(client, 201, {
    service: "rest",
    path: "/rest/v1/projects",
    headers: { ...bearer(session.access_token), apikey: keys.PUBLISHABLE_KEY },
    body: { id: projectId, user_id: userId, name },
  });
  return {
    identity: { userId, projectId, email, password },
    jwt: session.access_token,
    refreshToken: session.refresh_token,
  };
}

/** A call that must succeed, for preparation: tried again while the host is busy. */
async function expect(client: ApiClient, status: number, call: Call): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await client.call(call);
    if (answer.status === status) return answer;
    if (attempt === 5) {
      throw new Error(`${call.path} answered ${answer.status}: ${answer.bytes.toString().slice(0, 300)}`);
    }
    await pause(300);
  }
}

/** No answer, or one that says to try again: what became of a write is unknown. */
function isUnknown({ status }: Answer): boolean {
  return status === 0 || status === 429 || status >= 500;
}

class StudioClient {
  readonly client: ApiClient;
  readonly #load: Load;
  readonly #person: SignedInPerson;
  readonly #random: Random;
  readonly #shots: string[] = [];
  readonly #hasLostAnswers = new Set<string>();
  #names = 0;

  constructor(load: Load, client: ApiClient, person: SignedInPerson, random: Random) {
    this.#load = load;
    this.client = client;
    this.#person = person;
    this.#random = random;
  }

  async run(): Promise<void> {
    while (!this.#load.isStopping) {
      await this.#act();
      await this.#load.rest(this.#random);
    }
  }

  async #act(): Promise<void> {
    const action = this.#random.weighted({
      create: this.#load.waitingTasks > mostWaitingTasks ? 0 : 30,
      balance: 8,
      addShot: 10,
      renameShot: 10,
      deleteShot: 3,
      read: 12,
      identity: 12,
      refresh: 4,
      signIn: 0.5,
      upload: 8,
      download: 8,
    });
    switch (action) {
      case "create":
        return await this.#create();
      case "balance":
        return await this.#readBalance();
      case "addShot":
        return await this.#addShot();
      case "renameShot":
        return await this.#renameShot();
      case "deleteShot":
        return await this.#deleteShot();
      case "read":
        return await this.#readOwnRows();
      case "identity":
        return await this.#readIdentity();
      case "refresh":
        return await this.#refreshSession();
      case "signIn":
        return await this.#signIn();
      case "upload":
        return await this.#upload();
      case "download":
        return await this.#download();
    }
  }

  get #credentials(): Record<string, string> {
    return { ...bearer(this.#person.jwt), apikey: this.#load.options.keys.PUBLISHABLE_KEY };
  }

  /** Sends a write again until it is answered, as a client with an idempotency key may. */
  async #persist(call: Call): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.client.call(call);
      if (!isUnknown(answer) || attempt === mostTries || this.#load.isStopping) return answer;
      await pause(this.#random.between(100, 400));
    }
  }

  async #create(): Promise<void> {
    const { log } = this.#load;
    const reference = randomUUID();
    const request = { acknowledged: new Set<string>() };
    log.tasks.set(reference, request);
    const { projectId } = this.#person.identity;
    const answer = await this.#persist({
      service: "functions",
      path: "/functions/v1/create-task",
      headers: this.#credentials,
      body: {
        task_type: this.#random.pick(taskTypes),
        params: { prompt: "a fox", client_ref: reference },
        project_id: projectId,
        max_attempts: 20,
        // By a key of the request, or by an id that the client has chosen.
        ...(this.#random.chance(0.5) ? { idempotency_key: reference } : { task_id: reference }),
      },
    });
    if (answer.status !== 200) return;
    request.acknowledged.add(String(answer.body["task_id"]));
    log.acknowledge();
  }

  async #readBalance(): Promise<void> {
    await this.client.call({
      service: "functions",
      path: "/functions/v1/credit-balance",
      headers: this.#credentials,
      body: {},
    });
  }

  async #addShot(): Promise<void> {
    const { log } = this.#load;
    const id = randomUUID();
    const name = `shot ${this.#names++}`;
    const record: ShotRecord = { names: new Set([name]), allNames: new Set([name]), state: "asked" };
    log.shots.set(id, record);
    const answer = await this.#persist({
      service: "rest",
      path: "/rest/v1/shots",
      headers: this.#credentials,
      body: { id, project_id: this.#person.identity.projectId, name },
    });
    // 409: an earlier try was committed, and its answer was lost.
    if (answer.status !== 201 && answer.status !== 409) return;
    record.state = "there";
    this.#shots.push(id);
    log.acknowledge();
  }

  async #renameShot(): Promise<void> {
    const id = this.#random.pick(this.#shots);
    const record = id === undefined ? undefined : this.#load.log.shots.get(id);
    if (!record) return;
    const name = `shot ${this.#names++}`;
    record.names.add(name);
    record.allNames.add(name);
    const answer = await this.client.call({
      service: "rest",
      path: `/rest/v1/shots?id=eq.${id}`,
      method: "PATCH",
      headers: { ...this.#credentials, prefer: "return=representation" },
      body: { name },
    });
    if (isUnknown(answer)) this.#hasLostAnswers.add(id ?? "");
    if (answer.status !== 200) return;
    const rows = rowsOf(answer);
    if (rows.length !== 1) return void this.#load.log.foreignRows++;
    // Tries whose answers were lost may still be under way on the host: any of them may be the last.
    if (!this.#hasLostAnswers.has(id ?? "")) record.names = new Set([name]);
    this.#load.log.acknowledge();
  }

  async #deleteShot(): Promise<void> {
    const id = this.#shots.pop();
    const record = id === undefined ? undefined : this.#load.log.shots.get(id);
    if (!record) return;
    record.state = "unknown";
    const answer = await this.#persist({
      service: "rest",
      path: `/rest/v1/shots?id=eq.${id}`,
      method: "DELETE",
      headers: this.#credentials,
    });
    if (answer.status !== 204) return;
    record.state = "gone";
    this.#load.log.acknowledge();
  }

  /** Without a filter: what another user owns would be among the rows if it could be read at all. */
  async #readOwnRows(): Promise<void> {
    const { log } = this.#load;
    const { userId, projectId } = this.#person.identity;
    const [path, column, own] = this.#random.chance(0.5)
      ? ["/rest/v1/projects?select=user_id", "user_id", userId]
      : ["/rest/v1/shots?select=project_id&limit=50", "project_id", projectId];
    const answer = await this.client.call({
      service: "rest",
      path,
      method: "GET",
      headers: this.#credentials,
    });
    if (answer.status !== 200) return;
    log.reads++;
    const rows = rowsOf(answer);
    log.foreignRows += rows.filter((row) => row[column] !== own).length;
    // One's own project must be there: a read as nobody, or as another, would not show it.
    if (column === "user_id" && rows.length === 0) log.foreignRows++;
  }

  /** As oneself, nobody or the service: no statement may run under another request's role, claims or headers. */
  async #readIdentity(): Promise<void> {
    const { log, options } = this.#load;
    const { keys } = options;
    const role = this.#random.weighted({ authenticated: 6, anon: 2, service_role: 2 });
    const credentials = {
      authenticated: this.#credentials,
      anon: { apikey: keys.PUBLISHABLE_KEY },
      service_role: { ...bearer(keys.SERVICE_ROLE_KEY), apikey: keys.SERVICE_ROLE_KEY },
    };
    const request = randomUUID();
    const answer = await this.client.call({
      service: "rest",
      path: "/rest/v1/rpc/campaign_identity",
      method: "GET",
      headers: { ...credentials[role], "x-request-id": request },
    });
    if (answer.status !== 200) return;
    log.reads++;
    const { body } = answer;
    const user = role === "authenticated" ? this.#person.identity.userId : null;
    if (body["role"] !== role || body["user"] !== user || body["request"] !== request) log.foreignRows++;
  }

  async #refreshSession(): Promise<void> {
    const { log } = this.#load;
    const { userId } = this.#person.identity;
    const refreshToken = log.sessions.get(userId);
    if (refreshToken === undefined) return await this.#signIn();
    log.sessions.delete(userId);
    await this.#takeSession("refresh_token", { refresh_token: refreshToken });
  }

  async #signIn(): Promise<void> {
    const { email, password } = this.#person.identity;
    await this.#takeSession("password", { email, password });
  }

  async #takeSession(grant: string, body: object): Promise<void> {
    const { log, options } = this.#load;
    const answer = await this.client.call({
      service: "auth",
      path: `/auth/v1/token?grant_type=${grant}`,
      headers: { apikey: options.keys.PUBLISHABLE_KEY },
      body,
    });
    if (answer.status !== 200) return;
    const session = answer.body as { access_token: string; refresh_token: string; user: { id: string } };
    if (session.user.id !== this.#person.identity.userId) return void log.foreignRows++;
    this.#person.jwt = session.access_token;
    log.signedIn(session.user.id, {
      accessToken: session.access_token,
      refreshToken: session.refresh_token,
    });
    log.acknowledge();
  }

  async #upload(): Promise<void> {
    const { log } = this.#load;
    const { identity } = this.#person;
    const name = `${identity.userId}/uploads/${randomUUID()}.png`;
    const bytes = newPicture(this.#random);
    const answer = await this.#persist({
      service: "storage",
      path: `/storage/v1/object/image_uploads/${name}`,
      headers: { ...this.#credentials, "content-type": "image/png", "x-upsert": "true" },
      body: bytes,
    });
    if (answer.status !== 200) return;
    log.uploads.set(name, { owner: identity, bytes });
    log.acknowledge();
  }

  async #download(): Promise<void> {
    const { log } = this.#load;
    const [name, upload] = this.#random.pick([...log.uploads].slice(-200)) ?? [];
    if (!upload) return;
    const answer = await this.client.call({
      service: "storage",
      path: `/storage/v1/object/public/image_uploads/${name}`,
      method: "GET",
    });
    if (isUnknown(answer)) return;
    if (answer.status === 200 && answer.bytes.equals(upload.bytes)) return;
    log.wrongDownloads.push(`${answer.status} for ${name}`);
  }
}

class WorkerClient {
  readonly client: ApiClient;
  readonly #load: Load;
  readonly #name: string;
  readonly #random: Random;

  constructor(load: Load, client: ApiClient, name: string, random: Random) {
    this.#load = load;
    this.client = client;
    this.#name = name;
    this.#random = random;
  }

  async run(): Promise<void> {
    while (!this.#load.isStopping) {
      // A worker whose host is away waits before it asks again.
      if (isUnknown(await this.#beat([]))) await pause(this.#random.between(100, 400));
      const claimed = await this.#claim();
      if (claimed) await this.#work(claimed.task_id, claimed.attempt);
      await this.#load.rest(this.#random);
    }
  }

  async #post(name: string, body: object): Promise<Answer> {
    return await this.client.call({
      service: name === "complete_task" ? "completion" : "functions",
      path: `/functions/v1/${name}`,
      headers: bearer(this.#load.options.keys.SERVICE_ROLE_KEY),
      body,
    });
  }

  async #beat(tasks: { task_id: string; attempt: number }[]): Promise<Answer> {
    return await this.#post("worker-heartbeat", { worker_id: this.#name, status: "active", tasks });
  }

  async #claim(): Promise<{ task_id: string; attempt: number } | undefined> {
    const answer = await this.#post("claim-next-task", {
      worker_id: this.#name,
      ...(!this.#load.isDraining && { task_types: taskTypes }),
      wait_seconds: this.#random.chance(0.3) ? 1 : 0,
    });
    if (answer.status !== 200) return undefined;
    const claimed = answer.body as { task_id: string; attempt: number };
    this.#load.log.claimed(claimed.task_id, claimed.attempt, this.#name);
    return claimed;
  }

  async #work(taskId: string, attempt: number): Promise<void> {
    const { log } = this.#load;
    const run = { task_id: taskId, worker_id: this.#name, attempt };
    if (this.#random.chance(0.3)) await this.#beat([{ task_id: taskId, attempt }]);
    if (this.#random.chance(0.05)) {
      const answer = await this.#persist("update-task-status", {
        ...run,
        status: "Failed",
        error_details: "a fault campaign",
      });
      if (answer.status === 200) {
        log.failures.add(taskId);
        log.acknowledge();
      }
      return;
    }
    const bytes = newPicture(this.#random);
    const file = this.#random.chance(0.5)
      ? { filename: "output.png", file_data: bytes.toString("base64") }
      : await this.#upload(run, bytes);
    if (!file) return;
    const answer = await this.#persist("complete_task", { ...run, ...file });
    if (answer.status !== 200) return;
    log.completions.set(taskId, { attempt, url: String(answer.body["public_url"]), bytes });
    log.acknowledge();
  }

  async #upload(run: object, bytes: Buffer): Promise<object | undefined> {
    const signed = await this.#persist("generate-upload-url", {
      ...run,
      filename: "output.png",
      content_type: "image/png",
    });
    if (signed.status !== 200) return undefined;
    const { upload_url, storage_path } = signed.body as { upload_url: string; storage_path: string };
    for (let attempt = 1; attempt <= mostTries; attempt++) {
      const url = new URL(upload_url);
      const answer = await this.client.call({
        service: "storage",
        path: url.pathname + url.search,
        method: "PUT",
        headers: { "content-type": "image/png" },
        body: bytes,
      });
      if (answer.status === 200) return { storage_path };
      if (!isUnknown(answer) || this.#load.isStopping) return undefined;
      await pause(this.#random.between(100, 400));
    }
    return undefined;
  }

  async #persist(name: string, body: object): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#post(name, body);
      if (!isUnknown(answer) || attempt === mostTries || this.#load.isStopping) return answer;
      await pause(this.#random.between(100, 400));
    }
  }
}

export function newPicture(random: Random): Buffer {
  return Buffer.from(png({ colour: random.integer(0, 0xff_ff_ff) }));
}

export function rowsOf(answer: Answer): Record<string, unknown>[] {
  return Array.isArray(answer.body) ? (answer.body as Record<string, unknown>[]) : [];
}
