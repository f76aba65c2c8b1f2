/** kill -9 of the database server under load: the host lives on and starts it again. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { acceptsConnections } from "./support/database.ts";
import { postmasterOf } from "./support/host-process.ts";
import { Random } from "./support/random.ts";
import { type ProbeName, reportRecovery } from "./support/services.ts";
import { reportHost, startScene } from "./support/scene.ts";

export const killPostgres: Campaign = {
  name: "kill-postgres",
  title: "kill -9 of the database server",
  unit: "kills",
  rounds: { full: 50, short: 1 },
  run,
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const random = new Random(settings.seed);
  const scene = await startScene(settings);
  const { host, load, probes } = scene;
  const recoveries: Map<ProbeName, number>[] = [];
  load.start();
  probes.listen();
  for (let round = 1; round <= settings.rounds; round++) {
    await pause(random.between(1_000, 3_000));
    const completion = await probes.startRun();
    const postmaster = await postmasterOf(host.cluster);
    if (postmaster === undefined) throw new Error("The database server has no process.");
    let backAt: number | undefined;
    process.kill(postmaster, "SIGKILL");
    const isBack = acceptsConnections(host.keys.DB_URL, 60_000).then((isAccepted) => {
      if (!isAccepted) throw new Error("The database was not back within 60 s.");
      backAt = performance.now();
    });
    const [recovery] = await Promise.all([probes.recovery(() => backAt, completion), isBack]);
    recoveries.push(recovery);
    settings.say(`kill ${round} of ${settings.rounds}: ${describe(recovery)}`);
    await scene.reviveIfStuck(recovery);
  }
  await load.stop();
  await host.settled();
  reportRecovery(report, recoveries, settings.short ? 10_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  await reportHost(host, report);
  return report;
}

export function describe(recovery: Map<ProbeName, number>): string {
  return [...recovery].map(([name, time]) => `${name} ${(time / 1000).toFixed(1)}`).join(", ");
}
