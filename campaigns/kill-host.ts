/** kill -9 of the host under load, its database server left behind: the next host takes over both. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, percentile, Report, round } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { Random } from "./support/random.ts";
import { reportHost, startScene } from "./support/scene.ts";

export const killHost: Campaign = {
  name: "kill-host",
  title: "kill -9 of the host",
  unit: "kills",
  rounds: { full: 50, short: 1 },
  run,
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const random = new Random(settings.seed);
  const { host, load, probes } = await startScene(settings);
  const starts: number[] = [];
  load.start();
  for (let kill = 1; kill <= settings.rounds; kill++) {
    await pause(random.between(1_000, 4_000));
    await host.kill();
    const begun = performance.now();
    await host.start();
    starts.push((performance.now() - begun) / 1000);
    settings.say(`kill ${kill} of ${settings.rounds}: ready again after ${round(starts.at(-1) ?? 0)} s`);
  }
  await pause(2_000);
  await load.stop();
  report.table(
    "From start to ready, in seconds",
    ["max", "p95", "median"],
    [[Math.max(...starts), percentile(starts, 0.95), percentile(starts, 0.5)].map(round)],
  );
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  probes.listen();
  await probes.checkWhole(report, settings.short ? 5 : 60, settings.short ? 10_000 : 2_000);
  await reportHost(host, report);
  return report;
}
