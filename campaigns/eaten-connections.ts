/** Others take every connection of the database, those of the host too, and give them back after a while. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { type DatabaseSession, openSession } from "./support/database.ts";
import { newFolder, startDatabase } from "./support/host-process.ts";
import { reportHost, startScene } from "./support/scene.ts";
import { reportRecovery } from "./support/services.ts";

export const eatenConnections: Campaign = {
  name: "eaten-connections",
  title: "Others take all connections of the database",
  unit: "times",
  rounds: { full: 10, short: 1 },
  run,
};

const mostConnections = 80;

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings, { max_connections: String(mostConnections) });
  const scene = await startScene(settings, { folder, environment: { DATABASE_URL: database.url } });
  const { host, load, probes } = scene;
  const recoveries = [];
  let most = 0;
  load.start();
  probes.listen();
  for (let count = 1; count <= settings.rounds; count++) {
    await pause(2_000);
    const completion = await probes.startRun();
    const taken: DatabaseSession[] = [];
    const until = Date.now() + (settings.short ? 3_000 : 10_000);
    // What the host loses is taken before it comes back.
    while (Date.now() < until) {
      if (!(await takeOne(database.url, taken))) await endOthers(taken);
    }
    most = Math.max(most, taken.length);
    await Promise.all(taken.map((session) => session.close()));
    const givenBackAt = performance.now();
    const recovery = await probes.recovery(() => givenBackAt, completion);
    recoveries.push(recovery);
    settings.say(`time ${count} of ${settings.rounds}: ${taken.length} connections were taken`);
    await scene.reviveIfStuck(recovery);
  }
  await load.stop();
  await host.settled();
  report.table("Connections", ["allowed", "taken by others at most"], [[mostConnections, most]]);
  reportRecovery(report, recoveries, settings.short ? 10_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  if (!settings.short) await probes.checkWhole(report, 60, 2_000);
  await reportHost(host, report);
  return report;
}

/** Opens one more connection. Returns false when the server refuses it. */
async function takeOne(url: string, taken: DatabaseSession[]): Promise<boolean> {
  const session = openSession(url);
  try {
    await session.query("select 1");
    taken.push(session);
    return true;
  } catch (error) {
    await session.close();
    // too_many_connections, or a place that is just being cleared.
    if (
      error instanceof Error &&
      "code" in error &&
      /^(53300|57P01|CONNECT|ECONN)/.test(String(error.code))
    ) {
      return false;
    }
    throw error;
  }
}

async function endOthers([first]: DatabaseSession[]): Promise<void> {
  await first?.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name <> 'campaign' and backend_type in ('client backend', 'walsender')`,
  );
  await pause(20);
}
