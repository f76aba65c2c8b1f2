/** Single connections of the host that the database ends, in every state that they can be in. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { acceptsConnections, type DatabaseSession, openSession, withSession } from "./support/database.ts";
import { newFolder, startDatabase } from "./support/host-process.ts";
import { Random } from "./support/random.ts";
import { reportHost, startScene } from "./support/scene.ts";
import type { Probes } from "./support/services.ts";

export const connections: Campaign = {
  name: "connections",
  title: "Connections that the database ends",
  unit: "ended connections",
  rounds: { full: 1_000, short: 60 },
  run,
};

const states = [
  "idle",
  "active",
  "idle in transaction",
  "waits for a lock",
  "follows the log",
  "killed",
] as const;
type State = (typeof states)[number];

/** A killed backend makes the server restart all of its processes, so only a few are. */
const killShare = 0.005;
const callsAtOnce = 60;

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const random = new Random(settings.seed);
  // A server of its own: it goes on when the host ends by itself.
  const folder = await newFolder(settings);
  const { url } = await startDatabase(folder, settings);
  const scene = await startScene(settings, { folder, environment: { DATABASE_URL: url } });
  const { host, load, probes } = scene;
  const before = await capacities(url, probes);
  const ended = new Map<State, number>(states.map((state) => [state, 0]));
  load.start();
  let admin = openSession(url);
  for (let [count, attempt] = [0, 0]; count < settings.rounds; attempt++) {
    if (attempt > settings.rounds * 20) throw new Error(`Only ${count} connections could be ended.`);
    await pause(random.between(10, 120));
    // One that ended by itself is let start.
    await host.settled();
    const isFirstKill = count >= settings.rounds / 2 && ended.get("killed") === 0;
    if (isFirstKill || random.chance(killShare)) {
      const pid = (await backendIn(admin, "active")) ?? (await backendIn(admin, "idle"));
      if (pid === undefined) continue;
      await admin.close();
      process.kill(pid, "SIGKILL");
      await recoveredWithout(pid, url);
      admin = openSession(url);
      add(ended, "killed");
      count++;
    } else if (random.chance(0.2)) {
      const waiting = await endWaiting(admin, url, random.integer(1, 4));
      add(ended, "waits for a lock", waiting);
      count += waiting;
    } else if (random.chance(0.1)) {
      const rows = await admin.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'",
      );
      add(ended, "follows the log", rows.length);
      count += rows.length;
    } else {
      const state = random.weighted({ idle: 3, active: 3, "idle in transaction": 2 });
      const pid = (await backendIn(admin, state)) ?? (await backendIn(admin, "idle"));
      if (pid === undefined) continue;
      const [row] = await admin.query<{ state: State | null }>(
        `select state, pg_terminate_backend(pid) from pg_stat_activity where pid = $1`,
        [pid],
      );
      if (!row?.state || !states.includes(row.state)) continue;
      add(ended, row.state);
      count++;
    }
    if (attempt % 100 === 99) settings.say(`${count} of ${settings.rounds} connections ended`);
  }
  await admin.close();
  settings.say("all were ended; the load stops");
  await load.stop();
  await host.settled();
  report.table("Connections that were ended", ["state", "connections"], [...ended]);
  const after = await capacities(url, probes);
  for (const [service, count] of before) {
    const now = after.get(service) ?? 0;
    const figure = `${now} of ${count}`;
    report.holds(`Calls of ${service} that the database works on at once, as before`, figure, now >= count);
  }
  probes.listen();
  await probes.checkWhole(report, settings.short ? 10 : 60, settings.short ? 10_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  await reportHost(host, report);
  return report;
}

/** The server accepts connections until it notices; when the killed backend is not listed, it has started anew. */
async function recoveredWithout(pid: number, url: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await pause(100)) {
    if (!(await acceptsConnections(url, 1_000))) continue;
    const rows = await withSession(url, (session) =>
      session.query("select from pg_stat_activity where pid = $1", [pid]),
    ).catch((error: unknown) => {
      // It ends and refuses connections meanwhile.
      if (error instanceof Error && "code" in error) return undefined;
      throw error;
    });
    if (rows?.length === 0) return;
  }
  throw new Error("The database was not back within 60 s.");
}

function add(counts: Map<State, number>, state: State, more = 1): void {
  counts.set(state, (counts.get(state) ?? 0) + more);
}

/** A backend of the host that is in this state now, or within the next moments. */
async function backendIn(admin: DatabaseSession, state: string): Promise<number | undefined> {
  for (let look = 0; look < 40; look++) {
    const [row] = await admin.query<{ pid: number }>(
      `select pid from pg_stat_activity
        where state = $1 and application_name <> 'campaign' and backend_type = 'client backend'
        order by random() limit 1`,
      [state],
    );
    if (row || state === "idle") return row?.pid;
    await pause(2);
  }
  return undefined;
}

/** Makes REST transactions wait for a lock and ends up to this number of them. Returns how many it ended. */
async function endWaiting(admin: DatabaseSession, url: string, most: number): Promise<number> {
  return await withSession(url, async (holder) => {
    await holder.query("begin");
    await holder.query("lock table shots in access exclusive mode");
    let ended = 0;
    for (let look = 0; look < 20 && ended === 0; look++) {
      await pause(25);
      const rows = await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where wait_event_type = 'Lock' and application_name <> 'campaign' limit $1`,
        [most],
      );
      ended = rows.length;
    }
    await holder.query("rollback");
    return ended;
  });
}

/** How many calls of a service reach the database at once: its pool's connections, counted from outside. */
async function capacities(url: string, probes: Probes): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const service of ["rest", "functions"] as const) {
    await withSession(url, async (holder) => {
      await holder.query("begin");
      await holder.query("lock table projects in access exclusive mode");
      const calls = Array.from({ length: callsAtOnce }, () => probes.probe(service));
      let [most, unchanged] = [0, 0];
      for (let look = 0; look < 40 && unchanged < 8; look++) {
        await pause(100);
        const count = await withSession(url, async (session) => {
          // Of one pool: timers of another may wait for the same lock.
          const [pool] = await session.query<{ count: number }>(
            `select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock'
              group by application_name order by count desc limit 1`,
          );
          return pool?.count ?? 0;
        });
        unchanged = count > most || most === 0 ? 0 : unchanged + 1;
        most = Math.max(most, count);
      }
      await holder.query("rollback");
      await Promise.all(calls);
      found.set(service, most);
    });
  }
  return found;
}
