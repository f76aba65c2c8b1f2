/** One small call of each service of a host, to see when it works again and whether it works wholly. */
import { setTimeout as pause } from "node:timers/promises";
import { AnswerBook, ApiClient, bearer, type Call, type Service } from "./api-client.ts";
import { percentile, type Report, round } from "./campaign.ts";
import { type Load, newPicture, probeWorker, type SignedInPerson, signUpPerson } from "./load.ts";
import type { Random } from "./random.ts";
import { canJoin, RealtimeSocket } from "./realtime-socket.ts";

/** `socket`: a new one may join. `event`: one that was open before the fault, or its successor, is told of a task. */
export const probeNames = [
  "ready",
  "functions",
  "rest",
  "auth",
  "storage",
  "completion",
  "socket",
  "event",
] as const;
export type ProbeName = (typeof probeNames)[number];

/** Not among the types that the load's workers claim. */
const probeTaskType = "z_image_turbo_i2i";
/** A service that does not answer within this time of recovery is given up for the round. */
export const recoveryLimitMilliseconds = 45_000;

export class Probes {
  readonly #load: Load;
  readonly #random: Random;
  readonly #person: SignedInPerson;
  readonly #address: string;
  /** What probes are answered is not part of the load's figures. */
  readonly answers = new AnswerBook();
  readonly #client: ApiClient;
  #signInClient: ApiClient;
  #source = 300;
  #socket: RealtimeSocket | undefined;

  private constructor(load: Load, address: string, person: SignedInPerson) {
    this.#load = load;
    this.#random = load.newRandom();
    this.#person = person;
    this.#address = address;
    this.#client = new ApiClient([address], this.answers, 299);
    this.#signInClient = new ApiClient([address], this.answers, this.#source);
  }

  static async create(load: Load, address: string): Promise<Probes> {
    const client = new ApiClient([address], new AnswerBook(), 298);
    const person = await signUpPerson(client, load.options.keys, "probe");
    client.close();
    return new Probes(load, address, person);
  }

  #call(call: Call) {
    return this.#client.call({
      ...call,
      headers: {
        ...bearer(this.#person.jwt),
        apikey: this.#load.options.keys.PUBLISHABLE_KEY,
        ...call.headers,
      },
    });
  }

  async #succeeds(status: number, call: Call): Promise<boolean> {
    return (await this.#call(call)).status === status;
  }

  #service(name: string, body: object, service: Service = "functions") {
    const headers = bearer(this.#load.options.keys.SERVICE_ROLE_KEY);
    return this.#client.call({ service, path: `/functions/v1/${name}`, headers, body });
  }

  /** Calls a service once. A completion that was prepared before is that of `run`. */
  async probe(name: ProbeName, run?: object): Promise<boolean> {
    const { projectId, userId, email, password } = this.#person.identity;
    switch (name) {
      case "ready":
        return await this.#succeeds(200, { service: "ready", path: "/ready", method: "GET" });
      case "functions":
        return await this.#succeeds(200, {
          service: "functions",
          path: "/functions/v1/tasks-list",
          body: { project_id: projectId, limit: 1 },
        });
      case "rest":
        return await this.#succeeds(200, {
          service: "rest",
          path: "/rest/v1/projects?select=id",
          method: "GET",
        });
      case "auth":
        return await this.#signIn(email, password);
      case "storage":
        return await this.#succeeds(200, {
          service: "storage",
          path: `/storage/v1/object/image_uploads/${userId}/uploads/probe-${this.#random.integer(1, 1e9)}.png`,
          headers: { "content-type": "image/png", "x-upsert": "true" },
          body: newPicture(this.#random),
        });
      case "completion":
        return await this.#complete(run ?? (await this.startRun()));
      case "socket":
        return await canJoin(
          this.#address,
          this.#load.options.keys,
          `task-updates:${projectId}`,
          this.#person.jwt,
          5_000,
        );
      case "event":
        return await this.#hearsOfATask();
    }
  }

  /** An address may sign in 300 times in five minutes: probes move on to the next address before that. */
  async #signIn(email: string, password: string): Promise<boolean> {
    const answer = await this.#signInClient.call({
      service: "auth",
      path: "/auth/v1/token?grant_type=password",
      headers: { apikey: this.#load.options.keys.PUBLISHABLE_KEY },
      body: { email, password },
    });
    if (answer.status === 429) {
      this.#signInClient.close();
      this.#signInClient = new ApiClient([this.#address], this.answers, ++this.#source);
    }
    return answer.status === 200;
  }

  async #createTask(taskType = probeTaskType): Promise<boolean> {
    const answer = await this.#call({
      service: "functions",
      path: "/functions/v1/create-task",
      body: { task_type: taskType, params: { prompt: "a fox" }, project_id: this.#person.identity.projectId },
    });
    return answer.status === 200;
  }

  /** A task that is in progress, so that its completion is all that is left; undefined when that fails. */
  async startRun(): Promise<object | undefined> {
    if (!(await this.#createTask())) return undefined;
    const body = { worker_id: probeWorker, task_types: [probeTaskType] };
    const claimed = await this.#service("claim-next-task", body);
    if (claimed.status !== 200) return undefined;
    const { task_id, attempt } = claimed.body;
    return { task_id, worker_id: probeWorker, attempt };
  }

  async #complete(run: object | undefined): Promise<boolean> {
    if (!run) return false;
    const file_data = newPicture(this.#random).toString("base64");
    const body = { ...run, filename: "output.png", file_data };
    return (await this.#service("complete_task", body, "completion")).status === 200;
  }

  /** Opens a socket that stays open, so that `event` tells of it. */
  listen(): void {
    const { projectId } = this.#person.identity;
    this.#socket ??= new RealtimeSocket(
      this.#address,
      this.#load.options.keys,
      `task-updates:${projectId}`,
      this.#person.jwt,
    );
  }

  async #hearsOfATask(): Promise<boolean> {
    const socket = this.#socket;
    if (!socket) return false;
    const before = socket.events;
    // The load's workers take it out of the queue.
    if (!(await this.#createTask("z_image_turbo"))) return false;
    for (let look = 0; look < 100; look++) {
      if (socket.events > before) return true;
      await pause(10);
    }
    return false;
  }

  /**
   * Asks every service again and again until each has answered.
   * @returns milliseconds from `from()` (Infinity: not within the limit), where `from` is known once the database is back.
   */
  async recovery(from: () => number | undefined, run: object | undefined): Promise<Map<ProbeName, number>> {
    const found = new Map<ProbeName, number>();
    await Promise.all(
      probeNames.map(async (name) => {
        found.set(name, await this.#recoveryOf(name, from, name === "completion" ? run : undefined));
      }),
    );
    return found;
  }

  async #recoveryOf(
    name: ProbeName,
    from: () => number | undefined,
    run: object | undefined,
  ): Promise<number> {
    const mostAtOnce = name === "auth" || name === "event" ? 1 : 3;
    const successes: number[] = [];
    let underWay = 0;
    const ask = async () => {
      underWay++;
      const isAnswered = await this.probe(name, run);
      underWay--;
      const back = from();
      // What succeeds before the database is back was answered by the one before.
      if (isAnswered && back !== undefined) successes.push(performance.now() - back);
    };
    for (const begun = performance.now(); ; await pause(50)) {
      const [first] = successes;
      if (first !== undefined) return first;
      if (performance.now() - (from() ?? begun + 60_000) > recoveryLimitMilliseconds) return Infinity;
      if (underWay < mostAtOnce) void ask();
    }
  }

  /** Calls every service this number of times, a few calls at once, and adds whether each succeeds in time. */
  async checkWhole(report: Report, calls: number, limitMilliseconds: number): Promise<void> {
    const rows: (string | number)[][] = [];
    let [failed, slowest, all] = [0, 0, 0];
    for (const name of probeNames) {
      const times: number[] = [];
      let left = calls;
      let succeeded = 0;
      const ask = async () => {
        while (left-- > 0) {
          const run = name === "completion" ? await this.startRun() : undefined;
          const begun = performance.now();
          if (await this.probe(name, run)) succeeded++;
          times.push(performance.now() - begun);
        }
      };
      const atOnce = name === "auth" || name === "event" ? 1 : name === "completion" ? 3 : 6;
      await Promise.all(Array.from({ length: atOnce }, ask));
      failed += calls - succeeded;
      all += calls;
      slowest = Math.max(slowest, ...times);
      rows.push([name, `${succeeded} of ${calls}`, Math.round(Math.max(...times))]);
    }
    report.none("Calls that fail afterwards", failed, `${failed} of ${all}`);
    report.atMost("Slowest of them", slowest / 1000, limitMilliseconds / 1000, "s");
    report.table("Afterwards, by service", ["service", "answered", "slowest (ms)"], rows);
  }

  close(): void {
    this.#socket?.close();
    this.#client.close();
    this.#signInClient.close();
  }
}

/** Adds a table of the recovery of each service, and whether all were back in time. */
export function reportRecovery(
  report: Report,
  rounds: Map<ProbeName, number>[],
  limitMilliseconds: number,
): void {
  const rows = probeNames.map((name) => {
    const times = rounds.map((found) => (found.get(name) ?? Infinity) / 1000);
    const within = times.filter((time) => time <= limitMilliseconds / 1000).length;
    return [
      name,
      seconds(Math.max(...times)),
      seconds(percentile(times, 0.95)),
      seconds(percentile(times, 0.5)),
      `${within} of ${times.length}`,
    ];
  });
  const all = rounds.flatMap((found) => [...found.values()]);
  report.atMost("Slowest service to be back", Math.max(...all) / 1000, limitMilliseconds / 1000, "s");
  report.table(
    "From the database's first connection to the first success, in seconds",
    ["service", "max", "p95", "median", `within ${limitMilliseconds / 1000} s`],
    rows,
  );
}

function seconds(value: number): string {
  return Number.isFinite(value) ? String(round(value)) : `> ${recoveryLimitMilliseconds / 1000}`;
}
