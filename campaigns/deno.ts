/** The functions on Deno, as Supabase runs them, with 64 callers at once and valid requests of every endpoint. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { examine } from "../server/doctor.ts";
import { endpoints } from "../server/functions/registry.ts";
import { deriveKeys } from "../server/keys.ts";
import { createUser, type TestUser } from "../test/support/factories.ts";
import { startFakeFal } from "../test/support/fake-fal.ts";
import { startFakeStripe } from "../test/support/fake-stripe.ts";
import { denoFunctions } from "../test/support/hosts.ts";
import { sessionToken } from "../test/support/session-token.ts";
import { startReceiver } from "../test/support/webhooks.ts";
import { answerLimitMilliseconds, AnswerBook, ApiClient } from "./support/api-client.ts";
import { type Campaign, type CampaignSettings, percentile, Report } from "./support/campaign.ts";
import { openPool } from "../supabase/functions/_shared/database/pool.ts";
import { type RequestScene, shares, type ValidRequest, validRequests } from "./support/deno-requests.ts";
import { HostProcess, newFolder, startDatabase } from "./support/host-process.ts";
import { Random } from "./support/random.ts";

export const deno: Campaign = {
  name: "deno",
  title: "Every endpoint on Deno, 64 callers at once",
  unit: "requests",
  rounds: { full: 50_000, short: 600 },
  run,
};

const callers = 64;
const preparers = 8;
/** Requests that are prepared, then sent: what they need must not grow old. */
const batch = 2_000;
const people = 64;
const mostExits = 40;

interface Sent {
  statuses: Map<number, number>;
  milliseconds: number[];
  example: string | undefined;
}

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const missing = endpoints.map(({ contract }) => contract.name).filter((name) => !(name in validRequests));
  report.none("Endpoints without a valid request", missing.length, missing.join(", ") || "0");
  const stage = await setStage(settings);
  const random = new Random(settings.seed);
  const sent = new Map<string, Sent>();
  const answers = new AnswerBook();
  for (let done = 0; done < settings.rounds && stage.deno.exits.length < mostExits; done += batch) {
    const names = choose(Math.min(batch, settings.rounds - done), done === 0, random);
    const requests = await prepare(names, stage.scene);
    await send(requests, stage.deno, sent, answers);
    settings.say(`${done + names.length} of ${settings.rounds} requests, ${stage.deno.exits.length} exits`);
  }

  const all = [...sent.values()];
  const count = (from: number, to: number) =>
    all.reduce(
      (sum, { statuses }) =>
        sum + [...statuses].reduce((own, [status, n]) => own + (status >= from && status < to ? n : 0), 0),
      0,
    );
  const requests = count(0, 600);
  report.none("Times that Deno ended by itself", stage.deno.exits.length);
  report.none("Answers of 500 and above", count(500, 600), `${count(500, 600)} of ${requests}`);
  report.none("Requests without an answer", count(0, 1));
  report.none("Answers of 400 to 499 to valid requests", count(400, 500));
  const slowest = Math.max(...all.flatMap(({ milliseconds }) => milliseconds));
  report.atMost("Slowest answer", slowest / 1000, answerLimitMilliseconds / 1000, "s");
  for (const check of ["verify", "doctor"] as const) {
    const { fault_count } = await examine(stage.databaseUrl, check);
    report.none(`Faults that \`${check}\` finds`, fault_count);
  }
  if (stage.deno.exits.length > 0) {
    const words = new Map<string, number>();
    for (const last of stage.deno.exits) words.set(last, (words.get(last) ?? 0) + 1);
    report.table("Why Deno ended", ["last words", "times"], [...words]);
  }
  report.table(
    "Answers by endpoint",
    ["endpoint", "answers", "median (ms)", "p95 (ms)", "first that was not 2xx"],
    [...sent].map(([name, { statuses, milliseconds, example }]) => [
      name,
      [...statuses].map(([status, times]) => `${status || "none"}: ${times}`).join(", "),
      Math.round(percentile(milliseconds, 0.5)),
      Math.round(percentile(milliseconds, 0.95)),
      example ?? "",
    ]),
  );
  return report;
}

async function setStage(
  settings: CampaignSettings,
): Promise<{ scene: RequestScene; deno: DenoProcess; databaseUrl: string }> {
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings);
  const fakeStripe = await startFakeStripe();
  settings.atEnd(() => fakeStripe.close());
  const fakeFal = await startFakeFal();
  settings.atEnd(() => fakeFal.close());
  const receiver = await startReceiver();
  settings.atEnd(() => receiver.close());
  // Auth and storage are the standalone host's, which leaves timers and webhooks to the functions under test.
  const environment = {
    DATABASE_URL: database.url,
    DARKROOM_WEBHOOKS: "off",
    DARKROOM_AUTO_TOPUPS: "off",
    ...fakeStripe.variables,
  };
  const host = await HostProcess.start({ data: path.join(folder, "data"), environment }, settings);
  const keys = await deriveKeys(host.keys.JWT_SECRET, {});
  const denoProcess = new DenoProcess();
  settings.atEnd(() => denoProcess.end());
  await denoProcess.start({ apiUrl: host.url, keys, databaseUrl: database.url, fakeStripe, fakeFal });
  const sql = openPool({ url: database.url, name: "campaign", connections: preparers });
  settings.atEnd(() => sql.end());

  const known: TestUser[] = [];
  for (let index = 0; index < people; index++) known.push(await createUser(sql, 10_000_000_000));
  const sessions = new Map<string, string>();
  let turn = 0;
  const scene: RequestScene = {
    sql,
    fakeStripe,
    fakeFal,
    serviceKey: keys.serviceRoleKey,
    receiverUrl: receiver.url,
    async session(userId) {
      const session = sessions.get(userId) ?? (await sessionToken({ apiUrl: host.url, keys }, userId));
      sessions.set(userId, session);
      return session;
    },
    async tellStripe(body, headers) {
      const response = await fetch(`${host.url}/functions/v1/stripe-webhook`, {
        method: "POST",
        body,
        headers,
      });
      if (!response.ok) throw new Error(`stripe-webhook answered ${response.status}`);
    },
    async someone() {
      const person = known[turn++ % known.length];
      if (!person) throw new Error("There is nobody.");
      return person;
    },
  };
  return { scene, deno: denoProcess, databaseUrl: database.url };
}

/** Names of endpoints in a random order; each at least once where `all` is set. */
function choose(count: number, all: boolean, random: Random): string[] {
  const names = Object.keys(validRequests);
  const weights = Object.fromEntries(names.map((name) => [name, shares[name] ?? 1]));
  const chosen = all ? names.slice(0, count) : [];
  while (chosen.length < count) chosen.push(random.weighted(weights));
  return chosen
    .map((name): [number, string] => [random.next(), name])
    .sort(([a], [b]) => a - b)
    .map(([, name]) => name);
}

async function prepare(names: string[], scene: RequestScene): Promise<[string, ValidRequest][]> {
  const prepared: [string, ValidRequest][] = [];
  const left = names.values();
  await Promise.all(
    Array.from({ length: preparers }, async () => {
      for (const name of left) {
        const make = validRequests[name];
        if (make) prepared.push([name, await make(scene)]);
      }
    }),
  );
  return prepared;
}

async function send(
  requests: [string, ValidRequest][],
  { url, waitUntilServing }: DenoProcess,
  sent: Map<string, Sent>,
  answers: AnswerBook,
): Promise<void> {
  const left = requests.values();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (const [name, { body, headers }] of left) {
        const client = new ApiClient([url()], answers);
        const answer = await client.call({
          service: "functions",
          path: `/functions/v1/${name}`,
          headers: { "content-type": "application/json", ...headers },
          body: typeof body === "string" ? Buffer.from(body) : body,
        });
        client.close();
        const one: Sent = sent.get(name) ?? { statuses: new Map(), milliseconds: [], example: undefined };
        sent.set(name, one);
        one.statuses.set(answer.status, (one.statuses.get(answer.status) ?? 0) + 1);
        one.milliseconds.push(answer.milliseconds);
        if (answer.status >= 300) one.example ??= answer.bytes.toString().slice(0, 160);
        if (answer.status === 0) await waitUntilServing();
      }
    }),
  );
}

/** Deno with the functions; started again when it ends by itself, so that the campaign can count on. */
class DenoProcess {
  readonly exits: string[] = [];
  #child: ChildProcess | undefined;
  #port = 0;
  #isEnding = false;
  #starting: Promise<void> = Promise.resolve();

  readonly url = () => `http://127.0.0.1:${this.#port}`;
  readonly waitUntilServing = async () => {
    // An end is seen a moment after the connections break.
    await pause(50);
    await this.#starting;
  };

  async start(settings: Parameters<typeof denoFunctions>[0]): Promise<void> {
    this.#starting = this.#start(settings);
    await this.#starting;
  }

  async #start(settings: Parameters<typeof denoFunctions>[0]): Promise<void> {
    const { command, args, cwd, env } = await denoFunctions(settings);
    const child = spawn(command, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-100_000)));
    }
    for (const deadline = Date.now() + 60_000; ; await pause(20)) {
      const port = /^functions are served on port (\d+)$/m.exec(output)?.[1];
      this.#port = Number(port ?? 0);
      if (port !== undefined) break;
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`Deno did not serve the functions: ${output}`);
      }
    }
    child.once("exit", () => {
      if (this.#isEnding) return;
      const words = output
        .split("\n")
        .filter((line) => /error|TypeError|panic/i.test(line) && !line.startsWith("{"));
      this.exits.push((words.at(-1) ?? output.slice(-200)).slice(0, 200));
      if (this.exits.length < mostExits) this.#starting = this.#start(settings);
    });
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    const killing = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await exited;
    clearTimeout(killing);
  }
}
